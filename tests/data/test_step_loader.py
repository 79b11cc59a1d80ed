"""Steps of several micro-batches: drawn as wholes, handed out one by one, resumed in the middle."""

import lightning
import pytest
import torch

from omniformer.batch import MicroBatch
from omniformer.core.transformer import Transformer
from omniformer.data.module import OmniDataModule
from omniformer.data.step_loader import StepLoader
from omniformer.data.stream import Stream
from omniformer.embedders import IdEmbedder
from omniformer.heads import NextTokenHead
from omniformer.model import OmniFormer
from omniformer.tasks import CausalLM, TrainingModule
from omniformer.training.trainer import build_trainer


@pytest.fixture
def module(lists, ints):
    def make(lengths=(3, 1, 7, 2, 5, 4, 6, 2, 9, 3), batch_size=2, **options):
        stream = Stream(source=lists([[i + 1] * n for i, n in enumerate(lengths)]), batch_size=batch_size)
        return OmniDataModule(streams={"a": stream}, tokenizers={"a": {"text": ints}}, seed=0, **options)

    return make


def places(loader):
    return [(each.done + each.place, len(each.step) - each.place) for each in loader]


def steps(module, accumulate, remaining=float("inf")):
    return StepLoader(module.train_dataloader().loader, accumulate=lambda: accumulate, remaining=lambda: remaining)


def test_every_micro_batch_knows_its_place_and_what_is_left(module):
    assert places(steps(module(), 2)) == [(0, 2), (1, 1), (0, 2), (1, 1), (0, 1)]
    assert places(steps(module(), 1)) == [(0, 1)] * 5
    assert places(steps(module(), 8)) == [(i, 5 - i) for i in range(5)]


def test_the_trainer_may_end_an_epoch_earlier(module):
    assert places(steps(module(), 4, remaining=3))[:3] == [(0, 3), (1, 2), (2, 1)]


def test_a_micro_batch_holds_what_the_loader_gave_and_what_stands_on_the_host(module):
    plain = [batch["a"].ids for batch in module().train_dataloader()]
    drawn = list(steps(module(), 2))
    assert [each["a"].ids for each in drawn] == [each.on_host["a"].ids for each in drawn] == plain
    assert [batch["a"].ids for batch in drawn[0].step] == plain[:2]


def test_what_it_knows_of_its_step_stays_on_the_host(module):
    (first, *_) = steps(module(), 2)
    moved = lightning.fabric.utilities.move_data_to_device(first, torch.device("meta"))
    assert isinstance(moved, MicroBatch)
    assert moved["a"].parts["text"].values.is_meta
    assert not moved.on_host["a"].parts["text"].values.is_meta


@pytest.mark.parametrize("taken", range(10))
def test_a_run_goes_on_with_the_next_micro_batch_also_in_the_middle_of_a_step(module, taken):
    whole = steps(module(), 4)
    wanted = [(each["a"].ids, each.done + each.place) for _ in range(3) for each in whole]
    first, second = steps(module(), 4), steps(module(), 4)
    running = (each for _ in range(2) for each in first)
    for _ in range(taken):
        next(running)
    second.load_state_dict(first.state_dict())
    found = [(each["a"].ids, each.done + each.place) for each in second]
    # A pass is a number of micro-batches; where it begins in mid-epoch, steps still end where the trainer's epoch does.
    assert [ids for ids, _ in found] == [ids for ids, _ in wanted[taken : taken + 5]]
    assert found[0] == wanted[taken]


def test_a_state_of_before_has_no_place_in_a_step(module):
    loader = steps(module(), 2)
    next(iter(loader))
    state = loader.state_dict()
    assert state.pop("done") == 1
    other = steps(module(), 2)
    other.load_state_dict(state)
    assert places(other)[0] == (0, 2)


def test_learning_by_heart_repeats_its_steps(module):
    ours = module()
    ours.trainer = lightning.Trainer(overfit_batches=3, accelerator="cpu", logger=False, enable_checkpointing=False)
    loader = ours.train_dataloader()
    assert [each["a"].ids for each in loader] == [each["a"].ids for each in loader]
    loader.load_state_dict(loader.state_dict())
    assert len(list(loader)) == 3


def trained(folder, data, accumulate, **options) -> dict[str, torch.Tensor]:
    """The weights after two epochs of plain gradient descent."""
    torch.manual_seed(0)
    model = OmniFormer(
        core=Transformer(d_model=8, n_layers=1, n_heads=2),
        embedders={"text": IdEmbedder(d_model=8, vocab_size=16)},
        heads={"a": NextTokenHead(d_model=8, vocab_size=16)},
    )
    model.heads["a"].tie(model.embedders["text"].table)
    task = CausalLM(head=model.heads["a"])
    model.rules["a"] = task.rule
    training = TrainingModule(model=model, tasks={"a": task})
    training.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), lr=0.5)
    options = {"accumulate_grad_batches": accumulate, "max_epochs": 2, "limit_val_batches": 0, **options}
    trainer = build_trainer(
        {"accelerator": "cpu", "enable_model_summary": False, **options},
        callbacks={},
        loggers={},
        output_dir=str(folder),
    )
    trainer.fit(training, datamodule=data)
    return {name: value.detach() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(("batch_size", "accumulate"), [(4, 2), (2, 4), (1, 8)])
def test_ragged_texts_teach_the_same_however_their_steps_are_split(tmp_path, module, batch_size, accumulate):
    """Ten texts in steps of eight: the second step of an epoch is short, and weighs what it has."""
    wanted = trained(tmp_path, module(batch_size=8), 1)
    found = trained(tmp_path, module(batch_size=batch_size), accumulate)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


def test_an_epoch_cut_short_by_the_trainer_ends_in_a_whole_step(tmp_path, module):
    """Three micro-batches of an epoch, in steps of two: the third is a step by itself."""
    found = trained(tmp_path, module(batch_size=2), 2, limit_train_batches=3)
    once = trained(tmp_path, module(batch_size=2, steps_per_epoch=3), 2)
    for name, value in once.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0)
