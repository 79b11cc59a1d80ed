"""A core whose tokens are divided between processes gives the outputs and gradients of a whole batch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from ranks import together
from torch import Tensor, distributed, nn
from whole_steps import error

from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.attention.sinks import SinkAttention
from omniformer.core.biases import ALiBi
from omniformer.core.block import CrossBlock
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.norm import RMSNorm
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Full, Prefix, Rule, Window
from omniformer.core.transformer import Transformer
from omniformer.core.variants.linear import LinearAttention
from omniformer.parallel.context import Divided

pytestmark = pytest.mark.timeout(900)
RULES: dict[str, Rule] = {"full": Full(), "causal": Causal(), "window": Causal() & Window(left=2), "prefix": Prefix()}
SIZES: dict[str, Any] = {"d_model": 16, "n_layers": 1, "n_heads": 4, "n_kv_heads": 2}
CORES: dict[str, Callable[[], Transformer]] = {
    "turned": lambda: Transformer(**SIZES, attention=partial(SelfAttention, qk_norm=RMSNorm), rotary=Rotary),
    "biased": lambda: Transformer(**SIZES, pair_bias=ALiBi),
    "sinks": lambda: Transformer(**SIZES, attention=SinkAttention),
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
