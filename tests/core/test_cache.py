"""Decoding step by step with a cache equals one pass over everything, whatever the rule, the steps and the cache."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omniformer.core.attention.plan import lower
from omniformer.core.biases import ALiBi, RelativeTable, T5Buckets
from omniformer.core.block import CrossBlock, GatedCrossBlock, ParallelBlock
from omniformer.core.cache import KVCache, SlidingCache, StaticCache
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.rotary import Rotary
from omniformer.core.rules import (
    Causal,
    Full,
    Global,
    Modalities,
    Prefix,
    Sinks,
    Strided,
    Window,
    mistral,
    sparse_transformer,
)
from omniformer.core.transformer import Transformer
from omniformer.core.variants.additive import AdditiveAttention
from omniformer.core.variants.recurrent import Recurrent
from omniformer.core.variants.topk import TopKAttention
from omniformer.core.variants.value_residual import ValueResidualAttention

WIDTH, LAYERS = 16, 2
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def model(**parts):
    torch.manual_seed(0)
    core = Transformer(d_model=WIDTH, n_layers=LAYERS, n_heads=4, n_kv_heads=2, **{"rotary": Rotary, **parts}).eval()
    # Wide weights, so that attention is far from uniform and mistakes show.
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
    return core


def sequences(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, WIDTH, generator=generator) for length in lengths]


@torch.no_grad()
def one_pass(core, samples, rule, **others):
    layout = Layout(lengths=torch.tensor([len(s) for s in samples]), **others.pop("layout", {}))
    return core(torch.cat(samples), layout, rule, **others).split([len(s) for s in samples])


@torch.no_grad()
def step_by_step(core, cache, samples, steps, rule, prefix=None, memory=None):
    """Outputs of all tokens, each step adding so many tokens to each sample."""
    done, outs = [0] * len(samples), [[] for _ in samples]
    for step, counts in enumerate(steps):
        layout, _ = cache.extend(torch.tensor(counts), prefix=prefix if step == 0 else None)
        x = torch.cat([s[d : d + c] for s, d, c in zip(samples, done, counts, strict=True)])
        y = core(x, layout, rule, cache=cache, memory=memory if step == 0 else None).split(list(counts))
        for out, part in zip(outs, y, strict=True):
            out.append(part)
        done = [d + c for d, c in zip(done, counts, strict=True)]
    assert done == [len(s) for s in samples]
    return [torch.cat(out) for out in outs]


def assert_equal(ours, expected):
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs, **TOLERANCE)


RAGGED = [(3, 1, 5), (1, 1, 1), (0, 4, 1), (2, 0, 0), (1, 1, 1)]
LENGTHS = (7, 7, 8)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"block": ParallelBlock},
        {"rotary": None, "pair_bias": ALiBi},
        {"rotary": None, "pair_bias": partial(T5Buckets, n_buckets=4, max_distance=6, bidirectional=False)},
        {"rotary": None, "pair_bias": partial(RelativeTable, max_distances=[4])},
        {"attention": ValueResidualAttention},
        {"attention": partial(TopKAttention, top_k=2)},
        {"attention": AdditiveAttention},
    ],
    ids=["plain", "parallel", "alibi", "t5", "table", "value residual", "top-k", "additive"],
)
def test_ragged_prompts_and_steps_equal_one_pass(parts):
    core, samples = model(**parts), sequences(LENGTHS)
    cache = KVCache(n_layers=LAYERS, n_samples=3)
    assert_equal(step_by_step(core, cache, samples, RAGGED, Causal()), one_pass(core, samples, Causal()))


@pytest.mark.parametrize(
    "rule",
    [
        Causal() & Window(left=2),
        Causal() & (Window(left=1) | Sinks(2)),
        Causal() & ~Window(left=1, right=1),
        Causal() & (Window(left=1) | Strided(stride=3)),
        Causal() & (Window(left=1) | Global(first=2)),
        mistral(window=3, sinks=1),
        sparse_transformer(stride=2),
    ],
    ids=str,
)
def test_every_causal_rule_equals_one_pass(rule):
    core, samples = model(), sequences(LENGTHS)
    cache = KVCache(n_layers=LAYERS, n_samples=3)
    assert_equal(step_by_step(core, cache, samples, RAGGED, rule), one_pass(core, samples, rule))


def test_prefix_rule_equals_one_pass_once_the_prefix_is_in():
    core, samples, prefix = model(), sequences(LENGTHS), torch.tensor([3, 0, 5])
    rule = Causal() | Prefix()
    ours = step_by_step(core, KVCache(n_layers=LAYERS, n_samples=3), samples, RAGGED, rule, prefix=prefix)
    assert_equal(ours, one_pass(core, samples, rule, layout={"prefix": prefix}))


def test_rules_that_read_modality_and_features_find_them_in_the_cache():
    core = model()
    rule = Causal() & (Modalities([[0], [0, 1]]) | Global(first=0, feature="even"))
    x, modality = torch.cat(sequences((9,))), torch.tensor([0, 1, 1, 0, 0, 1, 0, 1, 1])
    even = torch.arange(9) % 2
    expected = one_pass(core, [x], rule, layout={"modality": modality, "features": {"even": even}})[0]
    cache, outs = KVCache(n_layers=LAYERS, n_samples=1), []
    for start, stop in ((0, 4), (4, 5), (5, 9)):
        part = slice(start, stop)
        layout, _ = cache.extend(torch.tensor([stop - start]), modality=modality[part], features={"even": even[part]})
        with torch.no_grad():
            outs.append(core(x[part], layout, rule, cache=cache))
    torch.testing.assert_close(torch.cat(outs), expected, **TOLERANCE)


def test_coordinates_given_by_the_caller_are_used_and_kept():
    core = model(rotary=partial(Rotary, n_axes=2), pair_bias=partial(RelativeTable, max_distances=[3, 3]))
    x = torch.cat(sequences((6,)))
    positions = torch.tensor([[0.0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]])
    expected = one_pass(core, [x], Causal(), layout={"positions": positions})[0]
    cache, outs = KVCache(n_layers=LAYERS, n_samples=1), []
    for i in range(6):
        layout, _ = cache.extend(torch.tensor([1]), positions[i : i + 1])
        with torch.no_grad():
            outs.append(core(x[i : i + 1], layout, Causal(), cache=cache))
    torch.testing.assert_close(torch.cat(outs), expected, **TOLERANCE)


@pytest.mark.parametrize("sinks", [0, 2])
@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("steps", [[(1, 1, 1)] * 12, [(5, 2, 7), (1, 4, 0), (3, 3, 3), (3, 3, 2)], [(12, 12, 12)]])
def test_sliding_cache_equals_one_pass_far_past_the_window(window, sinks, steps):
    core, samples = model(), sequences((12, 12, 12))
    rule = Causal() & (Window(left=window - 1) | Sinks(sinks)) if sinks else Causal() & Window(left=window - 1)
    cache = SlidingCache(n_layers=LAYERS, n_samples=3, window=window, sinks=sinks)
    assert_equal(step_by_step(core, cache, samples, steps, rule), one_pass(core, samples, rule))


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(st.tuples(*[st.integers(0, 5)] * 2), min_size=1, max_size=7),
    window=st.integers(1, 4),
    sinks=st.integers(0, 3),
    kind=st.sampled_from(["growing", "static", "sliding"]),
)
def test_any_steps_through_any_cache_equal_one_pass(steps, window, sinks, kind):
    lengths = [sum(step[i] for step in steps) for i in range(2)]
    core, samples = model(), sequences(lengths)
    rule = Causal() & (Window(left=window - 1) | Sinks(sinks))
    cache = {
        "growing": KVCache(n_layers=LAYERS, n_samples=2),
        "static": StaticCache(n_layers=LAYERS, n_samples=2, capacity=max(*lengths, 1)),
        "sliding": SlidingCache(n_layers=LAYERS, n_samples=2, window=window, sinks=sinks),
    }[kind]
    assert_equal(step_by_step(core, cache, samples, steps, rule), one_pass(core, samples, rule))


CACHES = [KVCache, partial(StaticCache, capacity=10), partial(SlidingCache, window=3, sinks=1)]


@pytest.mark.parametrize("make", CACHES, ids=["growing", "static", "sliding"])
@pytest.mark.parametrize("order", [[1, 0], [0, 0], [1, 1, 0, 1], [1]])
@torch.no_grad()
def test_after_reorder_each_sample_goes_on_from_the_one_it_copies(make, order):
    cache = make(n_layers=LAYERS, n_samples=2)
    core, rule = model(), Causal() & (Window(left=2) | Sinks(1))
    first, later = sequences((4, 6)), sequences([2] * len(order), seed=1)
    layout, _ = cache.extend(torch.tensor([4, 6]))
    core(torch.cat(first), layout, rule, cache=cache)
    cache.reorder(torch.tensor(order))
    outs = []
    for i in range(2):
        layout, _ = cache.extend(torch.ones(len(order), dtype=torch.long))
        outs.append(core(torch.stack([each[i] for each in later]), layout, rule, cache=cache))
    for row, (sample, tail) in enumerate(zip(order, later, strict=True)):
        expected = one_pass(core, [torch.cat([first[sample], tail])], rule)[0][-2:]
        torch.testing.assert_close(torch.stack([out[row] for out in outs]), expected, **TOLERANCE)


@pytest.mark.parametrize("block", [CrossBlock, GatedCrossBlock])
@torch.no_grad()
def test_decoder_with_memory_equals_one_pass_also_after_reorder(block):
    core, samples = model(block=block), sequences(LENGTHS)
    memory = Memory(x=torch.cat(sequences((4, 0, 2), seed=2)), layout=Layout.from_lengths(4, 0, 2))
    cache = KVCache(n_layers=LAYERS, n_samples=3)
    expected = one_pass(core, samples, Causal(), memory=memory)
    assert_equal(step_by_step(core, cache, samples, RAGGED, Causal(), memory=memory), expected)
    order = [2, 2, 0, 1]
    cache.reorder(torch.tensor(order))
    layout, _ = cache.extend(torch.ones(4, dtype=torch.long))
    more = torch.cat(sequences((4,), seed=3))
    out = core(more, layout, Causal(), cache=cache)
    again = [torch.cat([samples[i], more[row : row + 1]]) for row, i in enumerate(order)]
    whole = one_pass(core, again, Causal(), memory=memory.take(torch.tensor(order)))
    torch.testing.assert_close(out, torch.stack([each[-1] for each in whole]), **TOLERANCE)


@torch.no_grad()
def test_keys_of_the_memory_are_computed_once():
    core = model(block=CrossBlock)
    calls = []
    core.blocks[0].cross.branch.kv.register_forward_hook(lambda *_: calls.append(1))
    memory = Memory(x=torch.randn(3, WIDTH), layout=Layout.from_lengths(3))
    step_by_step(
        core, KVCache(n_layers=LAYERS, n_samples=1), sequences((5,)), [(2,), (1,), (1,), (1,)], Causal(), memory=memory
    )
    assert len(calls) == 1


def test_another_memory_for_the_same_cache_is_refused():
    cache = KVCache(n_layers=1, n_samples=1)
    memory = Memory(x=torch.randn(3, WIDTH), layout=Layout.from_lengths(3))
    assert cache.remember(memory) is memory
    assert cache.remember(None) is memory
    with pytest.raises(ValueError, match="make a new cache for another"):
        cache.remember(Memory(x=torch.randn(3, WIDTH), layout=Layout.from_lengths(3)))


@pytest.mark.parametrize("n_samples", [1, 3])
@pytest.mark.parametrize(
    "cache", [KVCache, partial(StaticCache, capacity=40), partial(SlidingCache, window=5, sinks=1)]
)
def test_equally_long_samples_are_read_without_a_copy(cache, n_samples):
    cache = cache(n_layers=1, n_samples=n_samples)
    cache.extend(torch.full((n_samples,), 4))
    cache.layers[0].append(*torch.randn(2, 4 * n_samples, 2, 8))
    cache.extend(torch.ones(n_samples, dtype=torch.long))
    k, _ = cache.layers[0].append(*torch.randn(2, n_samples, 2, 8))
    storage = k.untyped_storage().data_ptr()
    cache.extend(torch.ones(n_samples, dtype=torch.long))
    again, _ = cache.layers[0].append(*torch.randn(2, n_samples, 2, 8))
    assert again.untyped_storage().data_ptr() == storage
    assert again.shape == (n_samples, 6, 2, 8)


@torch.no_grad()
def test_static_cache_never_moves_and_refuses_to_overflow():
    core, cache = model(), StaticCache(n_layers=LAYERS, n_samples=2, capacity=6)
    samples = sequences((6, 5))
    outs = step_by_step(core, cache, samples, [(4, 2), (1, 2), (1, 1)], Causal())
    assert_equal(outs, one_pass(core, samples, Causal()))
    with pytest.raises(ValueError, match=r"sample 0 would have 7 tokens; this cache has capacity=6"):
        cache.extend(torch.tensor([1, 0]))
    # The refused step left no trace.
    layout, seen = cache.extend(torch.tensor([0, 1]))
    assert (layout.index.tolist(), seen.lengths.tolist()) == ([5], [6, 6])


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Causal(), r"looks any number of tokens back .* window=4 .* sinks=1"),
        (Causal() & Window(left=4), r"looks 4 tokens back .* window=4"),
        (Causal() & (Window(left=3) | Sinks(2)), r"2 first tokens; this cache keeps window=4 .* sinks=1"),
    ],
)
def test_sliding_cache_refuses_rules_that_ask_for_what_it_forgets(rule, message):
    core, cache = model(), SlidingCache(n_layers=LAYERS, n_samples=1, window=4, sinks=1)
    layout, _ = cache.extend(torch.tensor([2]))
    with pytest.raises(ValueError, match=message):
        core(torch.randn(2, WIDTH), layout, rule, cache=cache)


def test_sliding_cache_does_not_grow():
    cache = SlidingCache(n_layers=1, n_samples=1, window=4, sinks=2)
    sizes = set()
    for _ in range(30):
        cache.extend(torch.tensor([1]))
        k, _ = cache.layers[0].append(*torch.randn(2, 1, 1, 4))
        sizes.add(k.untyped_storage().nbytes())
    assert len(sizes) == 1
    assert k.shape == (1, 6, 1, 4)


def test_bad_arguments_are_told():
    with pytest.raises(ValueError, match="capacity=0"):
        StaticCache(n_layers=1, n_samples=1, capacity=0)
    with pytest.raises(ValueError, match=r"window=0 .* sinks=-1"):
        SlidingCache(n_layers=1, n_samples=1, window=0, sinks=-1)
    cache = KVCache(n_layers=1, n_samples=2)
    with pytest.raises(ValueError, match="holds 2 samples; received 3 lengths"):
        cache.extend(torch.tensor([1, 1, 1]))
    cache.extend(torch.tensor([1, 1]), torch.zeros(2, 1))
    with pytest.raises(ValueError, match=r"earlier steps gave \['positions'\] of each token, this one gives \[\]"):
        cache.extend(torch.tensor([1, 1]))


def test_full_rule_over_a_whole_prompt_equals_the_pass_without_a_cache():
    core, samples = model(), sequences((4, 2))
    ours = step_by_step(core, KVCache(n_layers=LAYERS, n_samples=2), samples, [(4, 2)], Full())
    assert_equal(ours, one_pass(core, samples, Full()))


CACHED = [
    lambda: model(),
    lambda: Recurrent(d_model=WIDTH, n_layers=LAYERS),
]


@pytest.mark.parametrize("make", CACHED, ids=["transformer", "recurrent"])
def test_a_layout_that_the_cache_did_not_announce_and_another_number_of_layers_are_refused(make):
    core, cache = make(), KVCache(n_layers=LAYERS, n_samples=2)
    x = torch.randn(4, WIDTH)
    for layout in (Layout.from_lengths(2, 2), cache.extend(torch.tensor([1, 3]))[1]):
        with pytest.raises(ValueError, match="not the one that this cache announced; pass the first"):
            core(x, layout, Causal(), cache=cache)
    few = KVCache(n_layers=1, n_samples=2)
    new, _ = few.extend(torch.tensor([2, 2]))
    with pytest.raises(ValueError, match="this cache has n_layers=1, the decoder has 2"):
        core(x, new, Causal(), cache=few)
    many = KVCache(n_layers=LAYERS, n_samples=2)
    new, _ = many.extend(torch.tensor([2, 2]))
    core(x, new, Causal(), cache=many, plan=many.plan(Causal()))
    with pytest.raises(ValueError, match="lowered for the queries"):
        core(x, new, Causal(), cache=many, plan=lower(Causal(), Layout.from_lengths(2, 2)))


@pytest.mark.parametrize("make", [KVCache, partial(StaticCache, capacity=8)])
def test_tokens_that_were_forgotten_were_never_read(make):
    core, samples = model(), sequences([7, 5])
    cache = make(n_layers=LAYERS, n_samples=2)
    expected = one_pass(core, samples, Causal())
    with torch.no_grad():
        wrong, _ = cache.extend(torch.tensor([6, 4]))
        core(torch.cat([samples[0][:4], samples[1][:1], samples[0][:3], samples[1][:2]]), wrong, Causal(), cache=cache)
        cache.truncate(torch.tensor([4, 0]))
        layout, _ = cache.extend(torch.tensor([3, 5]))
        found = core(torch.cat([samples[0][4:], samples[1]]), layout, Causal(), cache=cache).split([3, 5])
    torch.testing.assert_close(found[0], expected[0][4:], **TOLERANCE)
    torch.testing.assert_close(found[1], expected[1], **TOLERANCE)
    with pytest.raises(ValueError, match=r"this cache holds \[7, 5\] tokens; cannot keep \[8, 5\] of them"):
        cache.truncate(torch.tensor([8, 5]))
    assert cache.lengths.tolist() == [7, 5]


def test_what_cannot_forget_its_last_tokens_says_so():
    cache = SlidingCache(n_layers=1, n_samples=1, window=2)
    with pytest.raises(ValueError, match="a sliding cache has overwritten"):
        cache.truncate(torch.tensor([0]))
    core, cache = Recurrent(d_model=WIDTH, n_layers=1), KVCache(n_layers=1, n_samples=1)
    layout, _ = cache.extend(torch.tensor([3]))
    core(sequences([3])[0], layout, Causal(), cache=cache)
    with pytest.raises(ValueError, match="layer 0 carries a state from token to token"):
        cache.truncate(torch.tensor([1]))
