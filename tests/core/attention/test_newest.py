"""The newest token of each sample: the same as every other kernel gives, chosen where it fits and nowhere else."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omniformer.core.attention.kernel import Weighing
from omniformer.core.attention.newest import Newest, fits
from omniformer.core.attention.plan import lower
from omniformer.core.attention.reference import Reference
from omniformer.core.biases import ALiBi
from omniformer.core.cache import KVCache, SlidingCache, StaticCache
from omniformer.core.layout import Layout
from omniformer.core.norm import RMSNorm
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Full, Prefix, Sinks, Window
from omniformer.core.transformer import Transformer

CACHES = {
    "growing": KVCache,
    "static": lambda **size: StaticCache(**size, capacity=12),
    "sliding": lambda **size: SlidingCache(**size, window=12),
}
RULES = [Causal(), Full(), Causal() & Window(left=2), Causal() & Window(left=11), Causal() | Prefix()]


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(1, 4),
    held=st.integers(1, 9),
    heads=st.sampled_from([(2, 2), (4, 2), (3, 1)]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
    biased=st.booleans(),
    capped=st.booleans(),
    packed=st.booleans(),
)
def test_it_gives_what_the_reference_gives(n, held, heads, dtype, biased, capped, packed):
    layout = Layout(lengths=torch.ones(n, dtype=torch.long), start=torch.full((n,), held - 1))
    keys = Layout(lengths=torch.full((n,), held))
    q, k, v = torch.randn(n, heads[0], 4), torch.randn(n, held, heads[1], 4), torch.randn(n, held, heads[1], 6)
    q, k, v = (each.to(dtype) for each in (q, k, v))
    how = Weighing(0.5, ALiBi(n_heads=heads[0]) if biased else None, torch.tanh if capped else None, 0.0)
    flat = k.flatten(0, 1), v.flatten(0, 1)
    kernel, reference = (each(Causal(), layout, keys) for each in (Newest, Reference))
    tolerance = {"rtol": 2e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-5}
    close = torch.testing.assert_close
    close(kernel.attend(q, *(flat if packed else (k, v)), how), reference.attend(q, *flat, how), **tolerance)
    close(kernel.lse(q, k, how), reference.lse(q, flat[0], how), check_dtype=False, **tolerance)


def test_it_steps_aside_for_all_that_it_cannot_read():
    new = Layout(lengths=torch.tensor([1, 1]), start=torch.tensor([3, 3]))
    held = Layout.from_lengths(4, 4)
    assert lower(Causal(), new, held).kernel.name == lower(Causal() & Window(left=3), new, held).kernel.name == "newest"
    assert not fits(Causal() & Window(left=2), new, held)
    assert not fits(Causal() & (Window(left=9) | Sinks(1)), new, held)
    assert not fits(Causal(), new, Layout.from_lengths(4, 3))
    assert not fits(Causal(), Layout(lengths=torch.tensor([1, 1]), start=torch.tensor([3, 2])), held)
    assert not fits(Causal(), Layout(lengths=torch.tensor([2, 2]), start=torch.tensor([2, 2])), held)
    assert not fits(Causal(), Layout(lengths=torch.tensor([1, 0]), start=torch.tensor([3, 4])), held)
    assert not fits(Causal(), new, Layout(lengths=torch.tensor([4, 4]), places=torch.arange(8)))
    assert not fits(Causal(), held, held)
    assert not fits(Full(), new, Layout.from_lengths(0, 0))
    with pytest.raises(ValueError, match="choose 'auto'"):
        lower(Causal(), held, kernel="newest")


@pytest.mark.parametrize("rule", RULES, ids=str)
@settings(max_examples=5, deadline=None)
@given(
    cache=st.sampled_from(sorted(CACHES)),
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    alike=st.booleans(),
    kv_heads=st.sampled_from([1, 2, 4]),
    rotary=st.booleans(),
    biased=st.booleans(),
    normed=st.booleans(),
)
def test_decoding_is_the_same_with_it_and_with_dense(rule, cache, lengths, alike, kv_heads, rotary, biased, normed):
    if cache == "sliding" and (rule.reach().left > 11 or rule.reach().scattered):
        cache = "static"
    lengths = torch.tensor(lengths[:1] * len(lengths) if alike else lengths)
    torch.manual_seed(0)
    cores = [
        Transformer(
            d_model=16, n_layers=2, n_heads=4, n_kv_heads=kv_heads, kernel=kernel, rotary=Rotary if rotary else None,
            pair_bias=ALiBi if biased else None, **({"norm": RMSNorm} if normed else {}),
        ).eval()
        for kernel in ("auto", "dense")
    ]  # fmt: skip
    # Wide weights, so that attention is far from uniform and mistakes show.
    weights = {name: each * 10 for name, each in cores[0].state_dict().items()}
    for core in cores:
        core.load_state_dict(weights)
    read = [CACHES[cache](n_layers=2, n_samples=len(lengths)) for _ in cores]
    for step in range(4):
        counts = lengths if step == 0 else torch.ones_like(lengths)
        x = torch.randn(int(counts.sum()), 16)
        prefix = {"prefix": torch.ones_like(lengths)} if step == 0 else {}
        with torch.no_grad():
            ours, theirs = (
                core(x, each.extend(counts, **prefix)[0], rule, cache=each)
                for core, each in zip(cores, read, strict=True)
            )
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
