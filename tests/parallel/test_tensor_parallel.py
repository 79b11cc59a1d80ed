"""Blocks that several processes compute together give the outputs and gradients of whole ones."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ranks import together
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import loss_parallel
from whole_steps import HEARD, READ, STEPS, backward, error, joint, one_process, own, splits

from omniformer.adapters import LoRA, apply_lora
from omniformer.batch import Batch
from omniformer.core.attention.gated import GatedAttention
from omniformer.core.attention.latent import LatentAttention
from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.biases import ALiBi
from omniformer.core.block import CrossBlock, ParallelBlock
from omniformer.core.feedforward import FeedForward, GatedFeedForward
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.moe import MixtureOfExperts
from omniformer.core.norm import LayerNorm, RMSNorm
from omniformer.core.rules import Causal
from omniformer.core.transformer import Transformer
from omniformer.core.variants.reversible import ReversibleTransformer
from omniformer.parallel import fsdp, readers, tensor_parallel, vocabulary
from omniformer.parallel.strategy import TensorParallel
from omniformer.parallel.tensors import clip, whole
from omniformer.parallel.tensors import own as piece
from omniformer.tasks import TrainingModule
from omniformer.training.optimizers import AdamW

pytestmark = pytest.mark.timeout(900)
QUICK = ("a mixture",)  # the others on four processes
GROUPED: dict[str, Any] = {"n_heads": 4, "n_kv_heads": 2}
CORES: dict[str, Callable[[], nn.Module]] = {
    "gated, grouped heads": lambda: Transformer(
        **SIZES | GROUPED, attention=partial(SelfAttention, qk_norm=RMSNorm), feedforward=GatedFeedForward
    ),
    "norms with offsets, gates": lambda: Transformer(
        **SIZES | GROUPED, attention=partial(GatedAttention, qk_norm=LayerNorm), feedforward=FeedForward
    ),
    "side by side": lambda: Transformer(**SIZES, block=ParallelBlock),
    "reading a memory": lambda: Transformer(**SIZES, block=CrossBlock),
}
SIZES: dict[str, Any] = {"d_model": 16, "n_layers": 1, "n_heads": 4}
EVERY = {"heard": HEARD, "read": READ}


def drawn(core: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for each in core.parameters():
        nn.init.normal_(each, std=0.3)
    return core


def passed(core: nn.Module) -> dict[str, Tensor]:
    """What a core gives for two samples, and all gradients."""
    x, read = (torch.randn(n, 16, generator=torch.Generator().manual_seed(n)).requires_grad_() for n in (7, 5))
    memory = Memory(x=read, layout=Layout.from_lengths(2, 3)) if core.reads_memory else None
    y = core(x, Layout.from_lengths(3, 4), Causal(), memory=memory)
    y.square().sum().backward()
    found = {"y": y.detach(), "x": x.grad, "memory": read.grad if memory is not None else torch.zeros(1)}
    return found | {name: each.grad for name, each in core.named_parameters()}


def passed_together(core: nn.Module, world: int) -> dict[str, Tensor]:
    orders = tensor_parallel.apply(core, init_device_mesh("cpu", (world,)))
    found = passed(core)
    return plain({name: whole(each) for name, each in found.items()}, orders)


def plain(state: Mapping[str, Tensor], orders: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return tensor_parallel.reordered(state, {name: order.argsort() for name, order in orders.items()})


def divide(module: TrainingModule, size: int) -> tuple[dict[str, Tensor], Callable[[], None]]:
    """The orders of rows, and what is to be done after each backward pass."""
    shape = (torch.distributed.get_world_size() // size, size)
    mesh = init_device_mesh("cpu", shape, mesh_dim_names=("data", "tensor"))
    orders = tensor_parallel.apply(module.model.core, mesh["tensor"])
    vocabulary.apply(module.model, mesh["tensor"])
    readers.are(mesh["data"].get_group())
    scalars = fsdp.apply(module, mesh["data"], reshard_after_forward=True, param_dtype=None)
    return {f"core.{name}": order for name, order in orders.items()}, lambda: fsdp.average(scalars, mesh["data"])


def divided_gradients(module: TrainingModule, step: Sequence[Mapping[str, Batch]]) -> dict[str, Tensor]:
    orders, after = divide(module, 2)
    backward(module, step, after)
    found = {name: whole(each.grad) for name, each in module.model.named_parameters() if each.grad is not None}
    return plain(found, orders)


def errors_of(names: Sequence[str], rank: int, world: int) -> dict[str, float]:
    """How far gradients are from those of one process; two processes compute together and read the same samples."""
    found = {}
    for name in names:
        alone = one_process(lambda name=name: STEPS[name](1))
        n = max(splits(name))
        with loss_parallel():
            found[name] = error(STEPS[name](n, rank // 2, world // 2, gradients=divided_gradients), alone)
    return found


def trained(n: int) -> dict[str, Any]:
    """Weights after some clipped steps of AdamW, and how many numbers of the blocks a process holds."""
    module, orders, after = joint(), {}, lambda: None
    if torch.distributed.is_initialized():
        orders, after = divide(module, 2)
    optimizer = AdamW(lr=0.01, warmup_steps=1)(module)
    for _ in range(n):
        with loss_parallel():
            backward(module, [own(EVERY, EVERY, 0, 1)], after)
        clip([each.grad for each in module.parameters() if each.grad is not None], 1.0)
        optimizer.step()
        optimizer.zero_grad()
    held = sum(piece(each).numel() for name, each in module.named_parameters() if "branch" in name)
    weights = {name: whole(each.detach()) for name, each in module.model.named_parameters()}
    return {"weights": plain(weights, orders), "held": held}


def work(rank: int, world: int) -> dict[str, Any]:
    found: dict[str, Any] = {name: passed_together(drawn(make()), world) for name, make in CORES.items()}
    found |= {"errors": errors_of(QUICK, rank, world), "trained": trained(2)}
    return found


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict[str, Any]]:
    return together(2, work, tmp_path_factory.mktemp("two"))


@pytest.mark.parametrize("name", CORES)
def test_outputs_and_gradients_are_those_of_whole_blocks(two, name):
    alone = passed(drawn(CORES[name]()))
    for told in two:
        assert error(told[name], alone) < 1e-5


@pytest.mark.parametrize("name", QUICK)
def test_gradients_of_a_step_are_those_of_one_process(two, name):
    for told in two:
        assert told["errors"][name] < 2e-6


@pytest.mark.slow
def test_every_task_on_two_groups_of_two_processes(tmp_path):
    for told in together(4, partial(errors_of, list(STEPS)), tmp_path, patience=600):
        assert max(told.values()) < 2e-6


def test_weights_after_clipped_steps_are_those_of_one_process_and_each_holds_its_share(two):
    alone = trained(2)
    for told in two:
        found = told["trained"]
        assert error(learned(found["weights"]), learned(alone["weights"])) < 1e-4
        assert found["held"] == pytest.approx(alone["held"] / 2, rel=0.05)


def learned(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without offsets of keys, whose gradient is rounding, which AdamW makes large."""
    return {name: each for name, each in weights.items() if not name.endswith("qkv.bias")}


@pytest.mark.parametrize(
    ("core", "told"),
    [
        (lambda: Transformer(**SIZES | {"n_heads": 3, "d_model": 12}), "size=2 does not divide n_heads=3 of blocks.0"),
        (lambda: Transformer(**SIZES, n_kv_heads=1), "size=2 does not divide n_kv_heads=1 of blocks.0.attention"),
        (lambda: Transformer(**SIZES, feedforward=partial(FeedForward, d_ff=9)), "size=2 does not divide d_ff=9"),
        (
            lambda: Transformer(**SIZES, feedforward=partial(MixtureOfExperts, n_experts=2)),
            "cannot divide blocks.0.feedforward.branch, a MixtureOfExperts; it divides SelfAttention, ",
        ),
        (
            lambda: Transformer(**SIZES, attention=partial(LatentAttention, kv_rank=4, rotated=2)),
            "cannot divide blocks.0.attention.branch, a LatentAttention",
        ),
        (
            lambda: Transformer(**SIZES, pair_bias=ALiBi),
            "cannot divide the core, whose ALiBi gives scores",
        ),
        (
            lambda: Transformer(**SIZES, attention=partial(SelfAttention, pair_bias=ALiBi)),
            "cannot divide blocks.0.attention.branch, whose ALiBi gives",
        ),
        (lambda: ReversibleTransformer(**SIZES), "those of ReversibleTransformer are not all so"),
    ],
)
def test_what_cannot_be_divided_is_refused_by_name_before_anything_is(core, told):
    whole_one = core()
    with pytest.raises(ValueError, match=told):
        tensor_parallel.apply(whole_one, Mesh())  # pyright: ignore[reportArgumentType]
    assert not any(isinstance(each, DTensor) for each in whole_one.parameters())


def test_all_that_a_checkpoint_keeps_by_names_of_weights_has_the_rows_of_a_whole_model():
    strategy, written = TensorParallel(size=2), []
    strategy._orders = {"model.core.qkv": torch.tensor([0, 2, 1, 3])}
    strategy.broadcast = lambda value, src=0: value  # pyright: ignore[reportAttributeAccessIssue]
    strategy._checkpoint_io = SimpleNamespace(save_checkpoint=lambda checkpoint, *_: written.append(checkpoint))  # pyright: ignore[reportAttributeAccessIssue]
    kept = ("state_dict", "current_model_state", "accumulated_gradients")
    rows = {"model.core.qkv": torch.tensor([1, 3, 2, 4]), "model.norm": torch.tensor([2, 1])}
    strategy.save_checkpoint({"epoch": 1, **dict.fromkeys(kept, rows)}, "x")
    assert all(written[0][key]["model.core.qkv"].tolist() == [1, 2, 3, 4] for key in kept)
    assert all(written[0][key]["model.norm"].tolist() == [2, 1] for key in kept)
    assert written[0]["epoch"] == 1 and rows["model.core.qkv"].tolist() == [1, 3, 2, 4]


def test_adapted_maps_are_refused_by_name():
    model = joint().model
    apply_lora(model, LoRA(rank=2, targets=("query", "value")), train=("heads.*",))
    with pytest.raises(ValueError, match=r"blocks.0.attention.branch.qkv, which is no plain linear map; choose"):
        tensor_parallel.apply(model.core, Mesh())  # pyright: ignore[reportArgumentType]


class Mesh:
    """Two processes, none of which is there."""

    def size(self) -> int:
        return 2
