"""Operations are counted as they are done, and compared with a rate and seconds that are known."""

import pytest
import torch

from omniformer.parallel.compiling import Compiling
from omniformer.training import machine
from omniformer.training.machine import MachineShare, product_rate
from omniformer.training.throughput import Throughput

# Of 4 -> 16 -> 1 features, forward and backward, without the gradient of the input.
OPERATIONS_OF_A_TOKEN = 2 * (2 * 4 * 16 + 3 * 16)


@pytest.fixture
def known_rate(monkeypatch):
    monkeypatch.setattr(machine, "product_rate", lambda device, dtype: 1000.0)


def test_the_share_is_operations_over_what_the_machine_can_do_in_the_time(
    regressor, make_loader, make_trainer, known_rate
):
    share, throughput = MachineShare(), Throughput()
    make_trainer(throughput, share).fit(regressor(), make_loader(), make_loader())
    done = share.results()["train/machine_share"] * throughput.training_seconds * 1000.0
    assert done / throughput.n_tokens == pytest.approx(OPERATIONS_OF_A_TOKEN)


def test_processes_that_compute_one_model_together_do_each_a_part_of_the_operations(
    regressor, make_loader, make_trainer, known_rate, monkeypatch
):
    share, throughput = MachineShare(), Throughput()
    trainer = make_trainer(throughput, share)
    trainer.fit(regressor(), make_loader(), make_loader())
    alone = share.results()["train/machine_share"]
    monkeypatch.setattr(type(trainer), "world_size", 2)
    trainer.strategy.together = 2
    share.on_train_end(trainer, regressor())
    assert share.results()["train/machine_share"] == pytest.approx(alone)


def test_a_run_learns_the_same_with_and_without(regressor, make_loader, make_trainer):
    plain, counted = regressor(), regressor()
    make_trainer(Throughput()).fit(plain, make_loader(), make_loader())
    make_trainer(Throughput(), MachineShare()).fit(counted, make_loader(), make_loader())
    assert plain.seen == counted.seen


def test_a_step_that_fails_is_counted_no_longer(regressor, make_loader, make_trainer, known_rate):
    module, share = regressor(), MachineShare()

    def fail(*_):
        raise RuntimeError("broken")

    module.before_step = fail
    with pytest.raises(RuntimeError, match="broken"):
        make_trainer(Throughput(), share).fit(module, make_loader(), make_loader())
    torch.ones(2, 2) @ torch.ones(2, 2)
    assert share._counter is None and share.results() == {}


def test_what_is_compiled_is_left_out_and_said(regressor, make_loader, make_trainer, known_rate, caplog):
    class Elsewhere(Compiling):
        def setup(self, *_, **__):
            pass

        teardown = setup

    share = MachineShare()
    with caplog.at_level("INFO", "lightning.pytorch.utilities.rank_zero"):
        make_trainer(Throughput(), Elsewhere("blocks"), share).fit(regressor(), make_loader(), make_loader())
    assert share.results() == {} and "compiled programs" in caplog.text


def test_a_rate_draws_nothing_from_the_generator_of_the_run_and_other_devices_have_none():
    before = torch.get_rng_state()
    assert product_rate(torch.device("cpu"), torch.float32) > 1e6
    assert torch.equal(torch.get_rng_state(), before)
    assert product_rate(torch.device("meta"), torch.float32) == 0
