"""What every kernel owes: the same result as the reference, and samples that cannot feel each other."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from omniformer.core.attention.banded import Banded
from omniformer.core.attention.dense import Dense
from omniformer.core.attention.edges import Edges
from omniformer.core.attention.kernel import Weighing
from omniformer.core.attention.reference import Reference
from omniformer.core.biases import Bias
from omniformer.core.layout import Layout
from omniformer.core.rules import (
    BlockWindow,
    Causal,
    Expander,
    Full,
    Global,
    Modalities,
    Neighbours,
    Prefix,
    RandomBlocks,
    Self,
    Sinks,
    Strided,
    Window,
)

ATOMS = [
    Full(),
    Causal(),
    Self(),
    Window(2, 1),
    Window(left=3, right=0),
    Window(0, 5),
    Sinks(2),
    Prefix(),
    Global(first=1),
    Global(feature="star"),
    Strided(3),
    BlockWindow(8, 1, 0),
    RandomBlocks(8, 2),
    RandomBlocks(5, 1, seed=2),
    Modalities([[0], [0, 1]]),
    Neighbours(),
    Neighbours(hops=2),
    Expander(cycles=1),
]
RULES = st.recursive(
    st.sampled_from(ATOMS),
    lambda rules: st.one_of(
        st.builds(lambda a, b: a & b, rules, rules),
        st.builds(lambda a, b: a | b, rules, rules),
        st.builds(lambda a: ~a, rules),
    ),
    max_leaves=3,
)
# Rules that at least one of the special kernels can do.
SPECIAL = st.one_of(
    st.builds(
        lambda near, rule: near & rule, st.sampled_from([Window(3, 2), Window(1, 0), Neighbours() | Self()]), RULES
    ),
    st.builds(
        lambda near, far: near | far,
        st.sampled_from([Window(3, 2), Causal() & Window(left=4), BlockWindow(8)]),
        st.sampled_from(
            [Sinks(3), Global(first=2), Global(feature="star"), Prefix(), RandomBlocks(8, 2), RandomBlocks(5, 1)]
        ),
    ),
)


class Distance(Bias):
    """A learned number for each head and clipped distance."""

    def __init__(self, n_heads, dtype):
        super().__init__()
        self.table = nn.Parameter(torch.randn(n_heads, 9, dtype=dtype))

    def forward(self, query, key):
        return self.table[:, (key.index - query.index).clamp(-4, 4) + 4]


def cap(score):
    return 2.0 * torch.tanh(score / 2.0)


def make_layout(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    n_tokens, start, edges = sum(lengths), 0, [torch.zeros(2, 0, dtype=torch.long)]
    for length in lengths:
        if length:
            edges.append(torch.randint(start, start + length, (2, 3 * length), generator=generator))
        start += length
    return Layout(
        lengths=torch.tensor(lengths, dtype=torch.long),
        prefix=torch.tensor([length // 4 for length in lengths], dtype=torch.long),
        edges=torch.cat(edges, dim=1),
        modality=torch.randint(0, 2, (n_tokens,), generator=generator),
        features={"star": torch.rand(n_tokens, generator=generator) < 0.05},
    )


def kernels(rule, layout):
    yield Dense(rule, layout, layout)
    if rule.reach().bounded:
        yield Banded(rule, layout, layout)
    if rule.pairs(layout) is not None:
        yield Edges(rule, layout, layout)


def draws(layout, heads, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    # Values are wider than keys: no kernel may take one width for the other.
    shapes = [
        (layout.n_tokens, n, width)
        for n, width in zip((heads[0], heads[1], heads[1], heads[0]), (4, 4, 6, 6), strict=True)
    ]
    return [torch.randn(*shape, dtype=dtype, generator=generator) for shape in shapes]


def run(kernel, layout, q, k, v, grad, bias=None, score=None):
    """The output and all gradients."""
    inputs = [x.clone().requires_grad_() for x in (q, k, v)]
    leaves = inputs + ([] if bias is None else list(bias.parameters()))
    out = kernel(*inputs, scale=0.5, bias=bias, score=score)
    return [out.detach(), *torch.autograd.grad(out, leaves, grad)]


def run_lse(kernel, layout, q, k, v, grad, bias=None, score=None):
    """The log-sum-exp and all gradients."""
    inputs = [x.clone().requires_grad_() for x in (q, k)]
    leaves = inputs + ([] if bias is None else list(bias.parameters()))
    lse = kernel.lse(*inputs, Weighing(0.5, bias, score, 0.0))
    finite = lse.masked_fill(lse.isneginf(), 0.0)
    found = torch.autograd.grad(finite.sin().sum(), leaves, allow_unused=True)
    # Nothing reaches a leaf where no query has a key.
    grads = [torch.zeros_like(leaf) if each is None else each for each, leaf in zip(found, leaves, strict=True)]
    return [lse.detach(), *grads]


CASES = given(
    rule=st.one_of(RULES, SPECIAL),
    lengths=st.lists(st.sampled_from([0, 1, 2, 7, 33, 90]), min_size=0, max_size=4),
    heads=st.sampled_from([(1, 1), (4, 4), (4, 2), (2, 1)]),
    with_bias=st.booleans(),
    with_score=st.booleans(),
    seed=st.integers(0, 99),
)


def equals_the_reference(rule, lengths, heads, with_bias, with_score, seed):
    layout = make_layout(lengths, seed)
    bias = Distance(heads[0], torch.float64) if with_bias else None
    arguments = (layout, *draws(layout, heads, torch.float64, seed), bias, cap if with_score else None)
    expected = [
        *run(Reference(rule, layout, layout), *arguments),
        *run_lse(Reference(rule, layout, layout), *arguments),
    ]
    for kernel in kernels(rule, layout):
        found = [*run(kernel, *arguments), *run_lse(kernel, *arguments)]
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(
                ours, theirs, rtol=1e-9, atol=1e-9, msg=lambda m, kernel=kernel: f"{kernel.name}: {m}"
            )


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@CASES
def test_every_kernel_equals_the_reference_in_output_and_all_gradients(**case):
    equals_the_reference(**case)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=4000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@CASES
def test_every_kernel_equals_the_reference_in_thousands_of_cases(**case):
    equals_the_reference(**case)


EVERY = [
    (Causal(), Dense),
    (Full(), Dense),
    (Window(3, 2), Dense),
    (Causal() & (Window(left=6) | Sinks(2)), Banded),
    (Window(3, 2) | Global(first=1) | RandomBlocks(8, 2), Banded),
    (Neighbours() | Self(), Edges),
]
IDS = [f"{kernel.name} {rule}" for rule, kernel in EVERY]


@pytest.mark.parametrize("with_bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize(("rule", "kernel"), EVERY, ids=IDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=str)
def test_precision_of_output_and_gradients(rule, kernel, dtype, tolerance, with_bias):
    layout = make_layout([70, 0, 1, 129, 20])
    drawn = [x.to(dtype) for x in draws(layout, (4, 2), torch.float64)]
    bias = Distance(4, torch.float64) if with_bias else None
    # The reference in float64, from the very numbers that the kernel gets: only the kernel's own rounding remains.
    expected = run(Reference(rule, layout, layout), layout, *(x.double() for x in drawn), bias)
    # Weights stay in float32 under mixed precision.
    ours = run(kernel(rule, layout, layout), layout, *drawn, None if bias is None else bias.float())
    assert all(got.dtype == dtype for got in ours[:4])
    for got, want in zip(ours, expected, strict=True):
        assert (got.double() - want).norm() <= tolerance * want.norm()


@pytest.mark.parametrize(("rule", "kernel"), [*EVERY, (Causal(), Reference)], ids=[*IDS, "reference"])
@pytest.mark.parametrize("poison", [1e4, torch.nan], ids=["large", "nan"])
@pytest.mark.parametrize("with_score", [False, True], ids=["no score", "score"])
def test_a_change_in_one_sample_changes_no_bit_of_another(rule, kernel, poison, with_score):
    layout = make_layout([40, 90, 3, 70])
    drawn = draws(layout, (4, 2), torch.float32)
    lowered = kernel(rule, layout, layout)
    score = cap if with_score else None
    before = [*run(lowered, layout, *drawn, score=score), *run_lse(lowered, layout, *drawn, score=score)]
    for x in drawn:
        x[layout.sample == 1] = poison
    after = [*run(lowered, layout, *drawn, score=score), *run_lse(lowered, layout, *drawn, score=score)]
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one[layout.sample != 1], other[layout.sample != 1])


@pytest.mark.parametrize(
    ("rule", "kernel"),
    [
        (Causal(), Dense),
        (Causal() & Window(left=9), Dense),
        (Causal() & (Window(left=9) | Sinks(2)), Banded),
        (Causal(), Reference),
    ],
    ids=str,
)
@pytest.mark.parametrize("lengths", [[80], [80, 80], [80, 7, 120]], ids=str)
def test_a_change_of_a_token_changes_no_bit_before_it(rule, kernel, lengths):
    layout = make_layout(lengths)
    q, k, v, _ = draws(layout, (2, 2), torch.float32)
    lowered = kernel(rule, layout, layout)
    before = lowered(q, k, v, scale=0.5)
    for x in (q, k, v):
        x[50] = 7.0
    after = lowered(q, k, v, scale=0.5)
    assert torch.equal(before[:50], after[:50]) and not torch.equal(before[50], after[50])
    assert torch.equal(before[lengths[0] :], after[lengths[0] :])


@pytest.mark.parametrize(
    ("rule", "kernel"),
    [(Full(), Reference), (Full(), Dense), (Window(2, 2), Banded), (Neighbours(), Edges), (Window(2, 2), Dense)],
    ids=lambda x: getattr(x, "name", str(x)),
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_query_without_keys_gets_zeros_and_zero_gradients(rule, kernel, dtype):
    layout = make_layout([60, 100, 0])
    cut = rule & Modalities([[], [0, 1]])  # tokens of modality 0 read nothing
    q, k, v, grad = (x.to(dtype) for x in draws(layout, (2, 1), torch.float32))
    lonely = ~cut.mask(layout).any(1)
    assert lonely.any() and not lonely.all()
    out, grad_q, grad_k, grad_v = run(kernel(cut, layout, layout), layout, q, k, v, grad)
    assert (out[lonely] == 0).all() and (grad_q[lonely] == 0).all()
    assert all(x.isfinite().all() for x in (out, grad_q, grad_k, grad_v))


@pytest.mark.parametrize("kernel", [Reference, Dense, Banded])
def test_samples_without_keys_in_cross_attention_get_zeros(kernel):
    layout, memory = Layout.from_lengths(2, 50, 3), Layout.from_lengths(0, 4, 60)
    q, k = torch.randn(55, 2, 4, requires_grad=True), torch.randn(64, 2, 4, requires_grad=True)
    out = kernel(Window(70, 70), layout, memory)(q, k, k, scale=1.0)
    out.sum().backward()
    assert (out[:2] == 0).all() and (q.grad[:2] == 0).all() and q.grad.isfinite().all()
    alone = kernel(Window(70, 70), Layout.from_lengths(3), Layout.from_lengths(60))(q[52:], k[4:], k[4:], scale=1.0)
    torch.testing.assert_close(out[52:], alone)


@pytest.mark.parametrize(("rule", "kernel"), [*EVERY, (Full(), Reference)], ids=[*IDS, "reference"])
@pytest.mark.parametrize("lengths", [[], [0], [0, 0]], ids=str)
def test_empty_batches_give_empty_outputs_and_gradients(rule, kernel, lengths):
    layout = make_layout(lengths)
    for x in run(kernel(rule, layout, layout), layout, *draws(layout, (2, 2), torch.float32)):
        assert x.shape[0] == 0


@pytest.mark.parametrize(("rule", "kernel"), EVERY, ids=IDS)
def test_two_runs_agree_bit_for_bit(rule, kernel):
    layout = make_layout([40, 90, 3])
    drawn = draws(layout, (4, 2), torch.float32)
    first = run(kernel(rule, layout, layout), layout, *drawn)
    second = run(kernel(rule, layout, layout), layout, *drawn)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.quick(2)
@pytest.mark.parametrize(("rule", "kernel"), EVERY, ids=IDS)
def test_dropout_keeps_the_mean_and_drops_whole_weights(rule, kernel):
    layout = make_layout([30, 40])
    q, k, _, _ = draws(layout, (2, 2), torch.float32)
    v = torch.ones_like(k)
    torch.manual_seed(0)
    lowered = kernel(rule, layout, layout)
    mean = sum(lowered(q, k, v, scale=0.5, dropout=0.3) for _ in range(400)) / 400
    alive = rule.mask(layout).any(1)
    # A single weight of one: deviation sqrt(0.3/0.7)/20 = 0.033 of its mean; five deviations.
    assert (mean[alive] - 1).abs().max() < 0.17
    once = lowered(q, k, v, scale=0.5, dropout=0.3)
    assert not torch.allclose(once, torch.ones_like(once), atol=0.05)


@pytest.mark.parametrize("kernel", [Dense, Banded])
def test_decoding_steps_see_what_the_full_pass_sees(kernel):
    rule = Causal() & (Window(left=10) | Sinks(3))
    full, new = Layout.from_lengths(90, 5), Layout(lengths=torch.tensor([2, 1]), start=torch.tensor([88, 4]))
    q, k, v, _ = draws(full, (2, 2), torch.float64)
    expected = Reference(rule, full, full)(q, k, v, scale=0.5)
    chosen = torch.tensor([88, 89, 94])
    torch.testing.assert_close(kernel(rule, new, full)(q[chosen], k, v, scale=0.5), expected[chosen])


@pytest.mark.quick("dense")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # PyTorch's own compiler does it
@pytest.mark.parametrize(("rule", "kernel"), [EVERY[0], EVERY[3], EVERY[5]], ids=["dense", "banded", "edges"])
def test_kernels_compile_without_a_break(rule, kernel):
    layout = make_layout([60, 3])
    drawn, lowered = draws(layout, (4, 2), torch.float32), kernel(rule, layout, layout)
    expected = run(lowered, layout, *drawn)

    def attend(q, k, v, **options):
        return compiled(q, k, v)

    compiled = torch.compile(lambda q, k, v: lowered(q, k, v, scale=0.5), fullgraph=True, backend="aot_eager")
    for ours, theirs in zip(run(attend, layout, *drawn), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
