"""A model whose weights are divided between processes takes the same steps as a whole one."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import together
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule
from whole_steps import HEARD, READ, STEPS, backward, error, joint, one_process, own, splits

from omniformer.adapters import LoRA, apply_lora
from omniformer.batch import Batch, collate
from omniformer.core.transformer import Transformer
from omniformer.core.variants.reversible import ReversibleTransformer
from omniformer.parallel import fsdp
from omniformer.parallel.skeleton import Skeleton, gather
from omniformer.parallel.tensors import clip, whole
from omniformer.parallel.tensors import own as piece
from omniformer.tasks import TrainingModule
from omniformer.training.optimizers import AdamW, Muon

pytestmark = pytest.mark.timeout(900)
QUICK = ("causal", "contrastive", "a mixture")  # a long path, weights without dimensions, ranks without samples
STEPS_OF = {"sgd": 20, "adamw": 4, "muon": 4}
OPTIMIZERS: dict[str, Callable[[nn.Module], Any]] = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
    "adamw": AdamW(lr=0.01, warmup_steps=1),
    "muon": Muon(lr=0.01, warmup_steps=1),
}


def divided_gradients(
    module: TrainingModule, step: Sequence[Mapping[str, Batch]], param_dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """As `gradients`, of a module that is divided by FSDP2."""
    mesh = init_device_mesh("cpu", (torch.distributed.get_world_size(),))
    scalars = fsdp.apply(module, mesh, reshard_after_forward=True, param_dtype=param_dtype)
    backward(module, step, lambda: fsdp.average(scalars, mesh))
    return {name: whole(each.grad) for name, each in module.model.named_parameters() if each.grad is not None}


def half_error(rank: int, world: int) -> float:
    """How far gradients are from those of float32 where weights are gathered, and computed with, in bfloat16."""
    halves = partial(divided_gradients, param_dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        found = STEPS["a mixture"](1, rank, world, gradients=halves)
    assert all(each.dtype == torch.float32 for each in found.values())
    return error(found, one_process(lambda: STEPS["a mixture"](1)))


def errors_of(names: Sequence[str], rank: int, world: int, most: int = 4) -> dict[tuple[str, int], float]:
    """How far the gradients of each step are from those of one process."""
    found = {}
    for name in names:
        alone = one_process(lambda name=name: STEPS[name](1))
        for n in (n for n in splits(name) if n <= most):
            found[name, n] = error(STEPS[name](n, rank, world, gradients=divided_gradients), alone)
    return found


def steps_of(rank: int, world: int) -> list[list[dict[str, Batch]]]:
    """Two steps in turn: one in which ranks see different members' samples, and one of a single member."""
    every = {"heard": HEARD, "read": READ}
    return [[own(every, every, rank, world)], [own({"read": READ[:1]}, every, rank, world)]]


def trained(
    optimizer: str, rank: int, world: int, *, n: int, adapted: bool = False, offload: bool = False
) -> dict[str, Any]:
    """The weights after some steps with clipped gradients, and how many numbers a process holds of what."""
    module = joint()
    if adapted:
        apply_lora(module.model, LoRA(rank=2, targets=("query", "value")), train=("heads.*",))
    after, skeleton = (lambda: None), None
    if world > 1:
        mesh, skeleton = init_device_mesh("cpu", (world,)), Skeleton(module.model)
        scalars = fsdp.apply(module, mesh, reshard_after_forward=True, param_dtype=None, offload=offload)
        after = partial(fsdp.average, scalars, mesh)
    moved = OPTIMIZERS[optimizer](module)
    for i in range(n):
        backward(module, steps_of(rank, world)[i % 2], after)
        clip([each.grad for each in module.parameters() if each.grad is not None], 1.0)
        moved.step()
        moved.zero_grad()
    held = sum(piece(each).numel() for each in module.parameters())
    states = [each for state in moved.state.values() for each in state.values() if isinstance(each, Tensor)]
    state = gather(module.model, keep=True)
    if skeleton is not None:  # an ordinary model again, with tied weights that are tied
        filled = skeleton.filled(state)
        assert filled.heads["read"].ids.weight is filled.embedders["text"].table.weight
        assert not any(isinstance(each, FSDPModule) for each in filled.modules())
        assert all(each.untyped_storage().nbytes() == each.nbytes for each in filled.parameters())
        state = filled.state_dict()
    return {
        "weights": {name: each.detach() for name, each in state.items()},
        "held": held,
        "states": sum(piece(each).numel() for each in states),
    }


def evaluated(rank: int) -> list[float]:
    """A process without samples calls nothing; training goes on afterwards."""
    module = joint()
    mesh = init_device_mesh("cpu", (2,))
    fsdp.apply(module, mesh, reshard_after_forward=True, param_dtype=None)
    found = []
    for _ in range(2):
        with fsdp.gathered(module), torch.inference_mode():
            for _ in range(rank):
                found.append(float(module.tasks["heard"].measure(module.model, collate(HEARD), "heard", "val").loss))
        backward(module, steps_of(rank, 2)[0], lambda: None)
    return found


def work(rank: int, world: int) -> dict[str, Any]:
    found: dict[str, Any] = {"errors": errors_of(QUICK, rank, world, most=2), "evaluated": evaluated(rank)}
    for name, n in STEPS_OF.items():
        found[name] = trained(name, rank, world, n=n)
    found["half"] = half_error(rank, world)
    found["adapted"] = trained("adamw", rank, world, n=4, adapted=True)
    found["offloaded"] = trained("muon", rank, world, n=4, offload=True)
    return found


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict[str, Any]]:
    return together(2, work, tmp_path_factory.mktemp("two"))


@pytest.mark.parametrize("name", QUICK)
def test_gradients_are_those_of_one_process(two, name):
    for told in two:
        assert max(each for (which, _), each in told["errors"].items() if which == name) < 2e-6


def test_weights_gathered_in_bfloat16_give_gradients_in_float32(two):
    assert 1e-6 < two[0]["half"] < 0.05


@pytest.mark.slow
def test_every_task_in_every_split_on_four_processes(tmp_path):
    for told in together(4, partial(errors_of, list(STEPS)), tmp_path, patience=600):
        assert max(told.values()) < 2e-6


@pytest.mark.parametrize(("optimizer", "within"), [("sgd", 1e-5), ("adamw", 1e-4), ("muon", 5e-3)])
def test_weights_after_clipped_steps_are_those_of_one_process(two, optimizer, within):
    # Muon computes in bfloat16: a change of gradients by 1e-7 changes weights by 1e-3.
    alone = learned(trained(optimizer, 0, 1, n=STEPS_OF[optimizer])["weights"])
    assert error(learned(two[0][optimizer]["weights"]), alone) < within


def learned(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without offsets of keys: softmax does not see them, their gradient is rounding, which AdamW makes large."""
    return {name: each for name, each in weights.items() if not name.endswith("qkv.bias")}


def test_adapted_models_train(two):
    assert error(two[0]["adapted"]["weights"], trained("adamw", 0, 1, n=4, adapted=True)["weights"]) < 1e-4


def test_pieces_that_stay_on_the_host_take_the_same_steps(two):
    assert error(two[0]["offloaded"]["weights"], two[0]["muon"]["weights"]) == 0


def test_each_process_holds_its_share_of_weights_and_optimizer(two):
    alone = trained("adamw", 0, 1, n=1)
    for told in two:
        assert told["adamw"]["held"] == pytest.approx(alone["held"] / 2, rel=0.05)
        assert told["adamw"]["states"] == pytest.approx(alone["states"] / 2, rel=0.05)


def test_a_process_without_samples_waits_for_nobody_in_a_validation(two):
    first, second = (told["evaluated"] for told in two)
    assert first == [] and len(second) == 2


def test_blocks_are_units_unless_they_share_weights_or_their_core_calls_parts_of_them():
    core = Transformer(d_model=8, n_layers=3, n_heads=2)
    assert fsdp.units(nn.ModuleDict({"core": core})) == list(core.blocks)
    core.blocks[1].feedforward = core.blocks[0].feedforward
    assert fsdp.units(core) == [core.blocks[2]]
    assert fsdp.units(ReversibleTransformer(d_model=8, n_layers=2, n_heads=2)) == []


def test_gathering_to_a_process_that_keeps_nothing_gives_nothing():
    assert gather(nn.Linear(2, 1), keep=False) == {}


def test_a_folder_is_needed(tmp_path: Path):
    with pytest.raises(AssertionError, match="rank 1: Traceback"):
        together(2, lambda rank, world: 1 / (1 - rank), tmp_path)
