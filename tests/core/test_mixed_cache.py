from functools import partial

import pytest
import torch

from omniformer.core.block import CrossBlock
from omniformer.core.cache import SlidingCache
from omniformer.core.layer_kinds import LayerKind
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.mixed_cache import MixedCache
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Window
from omniformer.core.transformer import Transformer

KINDS = {
    "near": LayerKind(rule=Window(left=2), rotary=partial(Rotary, base=10.0)),
    "far": LayerKind(rotary=partial(Rotary, base=1000.0)),
}


def build(**others):
    torch.manual_seed(0)
    pattern = {"pattern": ["near", "far", "near"], "kinds": KINDS}
    return Transformer(d_model=16, n_layers=4, n_heads=4, init_std=0.3, **pattern, **others).eval()


def cache_of(core, n_samples):
    return MixedCache(core.rules(Causal()), n_samples=n_samples)


@pytest.mark.parametrize("steps", [[(3, 1), (1, 1), (1, 1), (2, 0), (1, 4)], [(8, 7)], [(1, 1)] * 7 + [(1, 0)]])
def test_step_by_step_equals_one_pass(steps):
    core, x = build(), torch.randn(15, 16)
    cache, rows, start = cache_of(core, 2), [[], []], [0, 8]
    with torch.no_grad():
        for step in steps:
            layout, _ = cache.extend(torch.tensor(step))
            new = torch.cat([x[first : first + n] for first, n in zip(start, step, strict=True)])
            out = core(new, layout, Causal(), cache=cache).split(list(step))
            for row, each in zip(rows, out, strict=True):
                row.append(each)
            start = [first + n for first, n in zip(start, step, strict=True)]
        whole = core(x, Layout.from_lengths(8, 7), Causal())
    torch.testing.assert_close(torch.cat([*rows[0], *rows[1]]), whole, rtol=1e-5, atol=1e-5)
    assert cache.lengths.tolist() == [8, 7]


def test_layers_with_a_window_hold_no_more_than_it():
    core, cache = build(), cache_of(build(), 1)
    with torch.no_grad():
        for _ in range(9):
            layout, _ = cache.extend(torch.tensor([1]))
            core(torch.randn(1, 16), layout, Causal(), cache=cache)
    held = [layer._k._rows.shape[1] for layer in cache.layers]
    assert [type(part).__name__ for part in cache.parts] == ["SlidingCache", "KVCache"]
    assert (held[0], held[2], held[3]) == (3, 3, 3)
    assert held[1] >= 9


def test_beams_and_the_memory_follow_their_samples():
    torch.manual_seed(1)
    core, x = build(block=CrossBlock), torch.randn(10, 16)
    memory, cache = Memory(x=torch.randn(5, 16), layout=Layout.from_lengths(2, 3)), cache_of(build(), 2)
    with torch.no_grad():
        layout, _ = cache.extend(torch.tensor([4, 4]))
        core(x[:8], layout, Causal(), cache=cache, memory=memory)
        cache.reorder(torch.tensor([1, 1]))
        layout, _ = cache.extend(torch.tensor([1, 1]))
        found = core(x[8:], layout, Causal(), cache=cache)
        whole = torch.cat([x[4:8], x[8:9], x[4:8], x[9:10]])
        expected = core(whole, Layout.from_lengths(5, 5), Causal(), memory=memory.take(torch.tensor([1, 1])))
    torch.testing.assert_close(found, expected[[4, 9]], rtol=1e-5, atol=1e-5)


def test_a_layer_whose_rule_looks_further_than_its_cache_is_refused():
    cache = MixedCache([Causal() & Window(left=1)] * 4, n_samples=1)
    layout, _ = cache.extend(torch.tensor([1]))
    assert isinstance(cache.parts[0], SlidingCache)
    with pytest.raises(ValueError, match="looks 2 tokens back"):
        build()(torch.randn(1, 16), layout, Causal(), cache=cache)
