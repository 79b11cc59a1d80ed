"""What callbacks do on two ranks: one pair of processes answers for all of them."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omniformer_tokenizers import Tokens
from ranks import together
from torch import distributed, nn

from omniformer.batch import Sample, collate
from omniformer.data.workers import emptied
from omniformer.training.accumulation import KeepGradients
from omniformer.training.finite import Finite, NonFiniteError
from omniformer.training.rng import StepSeeds
from omniformer.training.throughput import Throughput

RANKS = 2


def batch_of(*names: str) -> dict[str, Any]:
    """Samples of as many tokens as their names are long."""
    if not names:
        return {"it": emptied(batch_of("a")["it"])}
    return {
        "it": collate(
            [
                Sample(
                    id=name,
                    pieces=[
                        Tokens(values=torch.zeros(len(name), 1), positions=torch.zeros(len(name), 1), modality="x")
                    ],
                )
                for name in names
            ]
        )
    }


def trainer_of(rank: int) -> Any:
    def reduce(tensor: torch.Tensor, reduce_op: str) -> torch.Tensor:
        distributed.all_reduce(tensor)
        return tensor / RANKS if reduce_op == "mean" else tensor

    return SimpleNamespace(
        world_size=RANKS,
        global_rank=rank,
        global_step=7,
        current_epoch=1,
        accumulate_grad_batches=2,
        precision_plugin=None,
        training=True,
        state=SimpleNamespace(fn="fit"),
        strategy=SimpleNamespace(reduce=reduce),
        fit_loop=SimpleNamespace(_should_accumulate=lambda: True),
        _logger_connector=SimpleNamespace(should_update_logs=False),
    )


def refused(trainer: Any, rank: int, max_skips: int) -> tuple[str, bool]:
    """What the check says where the loss of rank 1 alone is not a number; whether the gradients are still there."""
    module: Any = nn.Linear(1, 1)
    module.device = torch.device("cpu")
    module.weight.grad = torch.ones(1, 1)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    finite = Finite(max_skips=max_skips)
    finite.setup(trainer, module, "fit")
    finite.on_train_batch_start(trainer, module, batch_of(f"of{rank}"), 0)
    finite.on_before_backward(trainer, module, torch.tensor(float("nan") if rank else 1.0))
    try:
        finite.on_before_optimizer_step(trainer, module, optimizer)
    except NonFiniteError as error:
        return str(error), module.weight.grad is not None
    return "", module.weight.grad is not None


def draws(trainer: Any) -> list[float]:
    seeds, found = StepSeeds(seed=3), []
    for batch in (0, 1, 0):
        seeds.on_train_batch_start(trainer, None, None, batch)
        found.append(float(torch.rand(())))
    return found


def kept_gradient(trainer: Any, rank: int) -> float:
    module, checkpoint = nn.Linear(1, 1, bias=False), {}
    module.weight.grad = torch.tensor([[1.0 + 2 * rank]])
    KeepGradients().on_save_checkpoint(trainer, module, checkpoint)
    return float(checkpoint["accumulated_gradients"]["weight"])


def counted(trainer: Any, rank: int) -> dict[str, float]:
    throughput = Throughput()
    throughput.on_train_start(trainer, None)
    shares = [(("aa", "b"), ("cccc",)), (("dd",), ()), (("e",), ("f",))]
    for i, share in enumerate(shares):
        throughput.on_train_batch_end(trainer, None, None, batch_of(*share[rank]), i)
    throughput.state_dict()  # a checkpoint in the middle counts nothing twice
    throughput.on_train_batch_end(trainer, None, None, batch_of(("dd", "gg")[rank]), 1)
    throughput.on_train_end(trainer, None)
    return {name: value for name, value in throughput.results().items() if name in ("train/samples", "train/tokens")}


def told_memory(trainer: Any, rank: int) -> float:
    """What is logged where the second rank holds most."""
    told: dict[str, float] = {}
    logger = SimpleNamespace(log_metrics=lambda numbers, step: told.update(numbers))
    logging = SimpleNamespace(should_update_logs=True)
    also = {"loggers": [logger], "_logger_connector": logging, "fit_loop": SimpleNamespace(_should_accumulate=bool)}
    trainer = SimpleNamespace(**vars(trainer) | also)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("omniformer.training.throughput.peak_memory", lambda _: (1 + rank) * 2**30)
        throughput = Throughput()
        throughput.on_train_start(trainer, None)
        throughput.on_train_batch_end(trainer, None, None, batch_of("aa"), 0)
    return told["train/memory_gib"]


def work(rank: int, world: int) -> dict[str, Any]:
    trainer = trainer_of(rank)
    found = {
        "stopped": refused(trainer, rank, 0),
        "skipped": refused(trainer, rank, 1),
        "draws": draws(trainer),
        "gradient": kept_gradient(trainer, rank),
        "counted": counted(trainer, rank),
        "memory": told_memory(trainer, rank),
    }
    distributed.barrier()
    return found


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> list[dict[str, Any]]:
    """What each rank has found."""
    return together(RANKS, work, tmp_path_factory.mktemp("ranks"))


def test_a_loss_that_is_no_number_on_one_rank_stops_all_of_them_with_its_samples(ranks):
    for rank in ranks:
        message, untouched = rank["stopped"]
        assert "not finite at step 7" in message
        assert "rank 1: loss [nan]" in message
        assert "samples of1" in message
        assert "of0" not in message
        assert untouched


def test_a_step_that_one_rank_skips_is_skipped_by_all(ranks):
    assert [rank["skipped"] for rank in ranks] == [("", False)] * RANKS


def test_ranks_draw_each_its_own_numbers_and_the_same_ones_again(ranks):
    first, second = (rank["draws"] for rank in ranks)
    assert first[0] == first[2]
    assert len({*first, *second}) == 4


def test_half_accumulated_gradients_are_kept_as_the_mean_over_ranks(ranks):
    assert [rank["gradient"] for rank in ranks] == [2.0, 2.0]


def test_the_memory_that_is_told_is_that_of_the_rank_that_holds_most(ranks):
    assert [rank["memory"] for rank in ranks] == [2.0] * RANKS


def test_samples_and_tokens_of_all_ranks_are_counted(ranks):
    assert [rank["counted"] for rank in ranks] == [{"train/samples": 8, "train/tokens": 15}] * RANKS
