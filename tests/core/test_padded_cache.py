"""A step of a padded cache says what a growing cache and one pass over everything say."""

from functools import partial

import pytest
import torch
from exporting import CORE, shaken
from hypothesis import given, settings
from hypothesis import strategies as st

from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.biases import ALiBi, T5Buckets
from omniformer.core.block import CrossBlock
from omniformer.core.cache import KVCache
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.norm import RMSNorm
from omniformer.core.padded import PaddedLayout
from omniformer.core.padded_cache import PaddedCache
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Sinks, Window
from omniformer.core.variants.value_residual import ValueResidualAttention

WRITERS = {
    "rotary, grouped": CORE(n_kv_heads=2, rotary=Rotary, attention=partial(SelfAttention, qk_norm=RMSNorm)),
    "buckets": CORE(pair_bias=T5Buckets),
    "slopes of each layer": CORE(attention=partial(SelfAttention, pair_bias=ALiBi)),
    "first values": CORE(attention=ValueResidualAttention),
}
for _core in WRITERS.values():
    shaken(_core)
READER = shaken(CORE(block=CrossBlock, rotary=Rotary))
RULES = [Causal(), Causal() & Window(left=2), Causal() & (Window(left=1) | Sinks(1))]


def nothing(core, n_samples):
    return [
        torch.zeros(n_samples, core.blocks[0].attention.branch.n_kv_heads, 0, 4) for _ in range(2 * len(core.blocks))
    ]


def stepped(core, x, valid, steps, rule, **options):
    """What a core says of all places, read in steps of so many columns."""
    past, outs, end = nothing(core, len(valid)), [], 0
    for n in steps:
        end += n
        seen = PaddedLayout(valid=valid[:, :end])
        now = seen.last(n)
        cache = PaddedCache(now, seen, past, **{key: value for key, value in options.items() if key != "read"})
        out = core(x[:, end - n : end].flatten(0, 1), now, rule, cache=cache, memory=options.get("read"))
        outs.append(out.unflatten(0, now.valid.shape))
        past = cache.states
    return torch.cat(outs, dim=1)


@st.composite
def texts(draw):
    """A mask with holes anywhere, and the steps it is read in."""
    steps = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    n_samples = draw(st.integers(1, 3))
    size = n_samples * sum(steps)
    return torch.tensor(draw(st.lists(st.booleans(), min_size=size, max_size=size))).view(n_samples, -1), steps


@pytest.mark.quick(2)
@pytest.mark.parametrize("core", WRITERS.values(), ids=WRITERS)
@settings(max_examples=15, deadline=None)
@given(text=texts(), rule=st.sampled_from(RULES))
@torch.no_grad()
def test_steps_say_what_one_pass_and_a_growing_cache_say(core, text, rule):
    valid, steps = text
    x = torch.randn(*valid.shape, 16, generator=torch.Generator().manual_seed(0))
    found = stepped(core, x, valid, steps, rule)[valid]
    whole = core(x[valid], Layout(lengths=valid.sum(1)), rule)
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)
    cache = KVCache(n_layers=core.n_layers, n_samples=len(valid))
    for columns, tokens in zip(valid.split(steps, dim=1), x.split(steps, dim=1), strict=True):
        new, _ = cache.extend(columns.sum(1))
        last = core(tokens[columns], new, rule, cache=cache)
    ends = valid[:, : sum(steps[:-1])].sum(1), valid.sum(1)
    expected = [row[start:end] for row, start, end in zip(found.split(ends[1].tolist()), *ends, strict=True)]
    torch.testing.assert_close(torch.cat(expected), last, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_keys_and_values_of_a_memory_come_in_and_are_not_computed():
    valid, read = torch.tensor([[True, True, True], [False, True, True]]), torch.tensor([[True, False], [True, True]])
    generator = torch.Generator().manual_seed(0)
    x, memory = torch.randn(2, 3, 16, generator=generator), torch.randn(2, 2, 16, generator=generator)
    packed = Memory(x=memory[read], layout=Layout(lengths=read.sum(1)))
    expected = READER(x[valid], Layout(lengths=valid.sum(1)), Causal(), memory=packed)
    states = [block.cross.branch.project_memory(memory.flatten(0, 1)) for block in READER.blocks]
    known = {i: tuple(each.unflatten(0, (2, 2)).transpose(1, 2) for each in pair) for i, pair in enumerate(states)}
    nowhere = Memory(x=torch.zeros(4, 0), layout=PaddedLayout(valid=read))
    found = stepped(READER, x, valid, [2, 1], Causal(), memory=known, read=nowhere)
    torch.testing.assert_close(found[valid], expected, rtol=1e-4, atol=1e-5)


def test_a_cache_of_another_decoder_or_another_step_is_refused():
    seen = PaddedLayout(valid=torch.ones(1, 2, dtype=torch.bool))
    core = WRITERS["rotary, grouped"]
    with pytest.raises(ValueError, match="n_layers=1, the decoder has 2"):
        core(torch.zeros(1, 16), seen.last(1), cache=PaddedCache(seen.last(1), seen, nothing(core, 1)[:2]))
    with pytest.raises(ValueError, match="not the one that this cache announced"):
        core(torch.zeros(1, 16), seen.last(1), cache=PaddedCache(seen.last(1), seen, nothing(core, 1)))
