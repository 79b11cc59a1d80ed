"""A core whose tokens are divided between processes gives the outputs and gradients of a whole batch."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from ranks import together
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from whole_steps import STEPS, backward, error, one_process, splits

from omniformer.batch import Batch
from omniformer.core.attention.latent import LatentAttention
from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.attention.sinks import SinkAttention
from omniformer.core.biases import ALiBi
from omniformer.core.block import CrossBlock
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.moe import MixtureOfExperts
from omniformer.core.norm import RMSNorm
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Full, Prefix, Rule, Window
from omniformer.core.transformer import Transformer
from omniformer.core.variants.linear import LinearAttention
from omniformer.core.variants.reversible import ReversibleTransformer
from omniformer.parallel import context, fsdp, readers
from omniformer.parallel.context import Divided
from omniformer.parallel.tensors import whole
from omniformer.tasks import TrainingModule

pytestmark = pytest.mark.timeout(900)
RULES: dict[str, Rule] = {"full": Full(), "causal": Causal(), "window": Causal() & Window(left=2), "prefix": Prefix()}
SIZES: dict[str, Any] = {"d_model": 16, "n_layers": 1, "n_heads": 4, "n_kv_heads": 2}
CORES: dict[str, Callable[[], Transformer]] = {
    "turned": lambda: Transformer(**SIZES, attention=partial(SelfAttention, qk_norm=RMSNorm), rotary=Rotary),
    "biased": lambda: Transformer(**SIZES, pair_bias=ALiBi),
    "sinks": lambda: Transformer(**SIZES, attention=SinkAttention),
    "latent": lambda: Transformer(
        **SIZES | {"n_kv_heads": None}, attention=partial(LatentAttention, kv_rank=4, rotated=2)
    ),
    "recomputed": lambda: Transformer(**SIZES, checkpoint_blocks=True),
    "reading a memory": lambda: Transformer(**SIZES, block=CrossBlock),
}
# One that is long, one shorter than there are pieces, an empty one.
LENGTHS = (19, 3, 0, 8)


def layout() -> Layout:
    return Layout(lengths=torch.tensor(LENGTHS), prefix=torch.tensor([4, 1, 0, 8]))


def drawn(core: Transformer) -> Transformer:
    torch.manual_seed(0)
    for each in core.parameters():
        nn.init.normal_(each, std=0.3)
    return core


def passed(core: Transformer, rule: Rule, *, divided: bool) -> dict[str, Tensor]:
    """What a core gives for all tokens, and all gradients of a sum over tokens."""
    x, read = (torch.randn(n, 16, generator=torch.Generator().manual_seed(n)).requires_grad_() for n in (30, 7))
    memory = Memory(x=read, layout=Layout.from_lengths(2, 3, 1, 1)) if core.reads_memory else None
    if not divided:
        y = core(x, layout(), rule, memory=memory)
        y.square().sum().backward()
        return {"y": y.detach(), "x": x.grad, **{name: each.grad for name, each in core.named_parameters()}}
    parts = Divided(layout(), n_layers=1)
    y = core(parts.take(x), parts.new, rule, cache=parts, memory=memory)
    y.square().sum().backward()
    found = {"x": x.grad, **{name: each.grad for name, each in core.named_parameters()}}
    for each in found.values():
        distributed.all_reduce(each)
    return {"y": parts.gather(y.detach()), **found}


def errors(rank: int, world: int) -> dict[Any, float]:
    pairs = [("turned", rule) for rule in RULES] + [(core, "causal") for core in CORES]
    return {
        pair: error(
            passed(drawn(CORES[pair[0]]()), RULES[pair[1]], divided=True),
            passed(drawn(CORES[pair[0]]()), RULES[pair[1]], divided=False),
        )
        for pair in pairs
    }


def divided_gradients(module: TrainingModule, step: Sequence[Mapping[str, Batch]]) -> dict[str, Tensor]:
    """Of groups of two processes, between all of which weights are divided."""
    world = distributed.get_world_size()
    mesh = init_device_mesh("cpu", (world // 2, 2), mesh_dim_names=("data", "group"))
    every = init_device_mesh("cpu", (world,))
    context.apply(module.model.core, mesh["group"].get_group())
    readers.are(mesh["data"].get_group())
    scalars = fsdp.apply(module, every, reshard_after_forward=True, param_dtype=None)
    try:
        backward(module, step, lambda: fsdp.average(scalars, every))
    finally:
        readers.are()
    return {name: whole(each.grad) for name, each in module.model.named_parameters() if each.grad is not None}


def errors_of(names: Sequence[str], rank: int, world: int) -> dict[str, float | str]:
    """How far gradients are from those of one process, or why there are none."""
    found: dict[str, float | str] = {}
    for name in names:
        alone, n = one_process(lambda name=name: STEPS[name](1)), max(splits(name))
        try:
            found[name] = error(STEPS[name](n, rank // 2, world // 2, gradients=divided_gradients), alone)
        except ValueError as refused:
            found[name] = str(refused)
    return found


def test_gradients_of_a_step_are_those_of_one_process(tmp_path):
    for told in together(2, partial(errors_of, ["a mixture"]), tmp_path):
        assert told["a mixture"] < 2e-6


@pytest.mark.slow
def test_every_task_on_two_groups_of_two_processes(tmp_path):
    for told in together(4, partial(errors_of, list(STEPS)), tmp_path, patience=900):
        refused = {name: why for name, why in told.items() if isinstance(why, str)}
        assert all("edges or pairs" in why for why in refused.values()), refused
        assert len(refused) < 4
        assert max(far for far in told.values() if not isinstance(far, str)) < 2e-6, told


@pytest.mark.parametrize(
    ("core", "told"),
    [
        (
            lambda: Transformer(**SIZES, feedforward=partial(MixtureOfExperts, n_experts=2)),
            "trainer=context cannot divide blocks.0.feedforward.branch, a MixtureOfExperts; it divides SelfAttention, ",
        ),
        (lambda: Transformer(**SIZES, attention=LinearAttention), "blocks.0.attention.branch, a LinearAttention"),
        (lambda: ReversibleTransformer(**SIZES), "divides the tokens of a Transformer, and this core is a Reversible"),
    ],
)
def test_what_cannot_be_divided_is_refused_by_name_before_anything_is(core, told):
    with pytest.raises(ValueError, match=told):
        context.apply(made := core())
    assert "forward" not in vars(made)


def test_masks_of_embedders_and_heads_are_those_of_an_undivided_pass_and_measuring_is_not_divided():
    core = drawn(Transformer(**SIZES, dropout=0.5))
    x, plain = torch.randn(30, 16), layout()
    wanted = core.eval()(x, plain, Causal())
    context.apply(core)
    assert torch.equal(core(x, plain, Causal()), wanted)
    torch.manual_seed(0)
    outside = torch.rand(3)
    torch.manual_seed(0)
    core.train()(x, plain, Causal())
    assert torch.equal(torch.rand(3), outside)


@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_outputs_and_gradients_are_those_of_a_whole_batch(world, tmp_path):
    for told in together(world, errors, tmp_path):
        assert max(told.values()) < 1e-5, told


def of_each(world: int) -> list[Divided]:
    ranks, found = distributed.get_rank, []
    for rank in range(world):
        distributed.get_rank = lambda group=None, rank=rank: rank
        found.append(Divided(Layout.from_lengths(64, 16), n_layers=1))
    distributed.get_rank = ranks
    return found


def test_each_process_computes_equally_many_pairs_under_a_causal_rule(monkeypatch):
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda group=None: 4)
    parts = of_each(4)
    assert sorted(torch.cat([part.tokens for part in parts]).tolist()) == list(range(80))
    pairs = {int((part.new.index + 1).sum()) for part in parts}
    assert len(pairs) == 1 and {len(part.tokens) for part in parts} == {20}


def test_what_joins_tokens_of_several_processes_is_refused():
    edges = Layout(lengths=torch.tensor([2]), edges=torch.tensor([[0], [1]]))
    with pytest.raises(ValueError, match="edges or pairs joins tokens of several processes; divide samples"):
        Divided(edges, n_layers=1)
    core, plain = Transformer(d_model=8, n_layers=1, n_heads=2, attention=LinearAttention), Layout.from_lengths(3)
    divided = Divided(plain, n_layers=1)
    with pytest.raises(ValueError, match="carries a state from token to token, so that its tokens cannot be divided"):
        core(torch.randn(3, 8), divided.new, Causal(), cache=divided)
