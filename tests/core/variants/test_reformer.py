from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omniformer.core.attention.multihead import Context
from omniformer.core.attention.plan import lower
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Neighbours, Window
from omniformer.core.variants.reformer import ReformerAttention


def run(attention, x, layout, rule):
    return attention(x, Context(plan=lower(rule, layout)))


def heads_of(attention, x):
    qk, v = attention.qk_v(x).unflatten(1, (2, attention.n_heads, attention.head_dim)).unbind(1)
    return qk.transpose(0, 1), v.transpose(0, 1)


def softmax_over(attention, x, pairs):
    """Shared query-key attention over a set of pairs `[heads, tokens, tokens]`, in plain maths."""
    qk, v = heads_of(attention, x)
    scores = attention.scale * (qk @ (qk / qk.norm(dim=-1, keepdim=True)).transpose(-1, -2))
    scores = (scores if attention.score is None else attention.score(scores)) - 1e5 * torch.eye(len(x))
    weights = torch.where(pairs, scores, -torch.inf).softmax(-1).nan_to_num(0.0)
    return attention.out((weights @ v).transpose(0, 1).flatten(1))


def pairs_that_meet(attention, x, layout, rule):
    """Token by token: same sample, same bucket, and few enough members of the bucket in between, in any round."""
    buckets = attention.buckets(heads_of(attention, x)[0])
    allowed = rule.mask(layout)
    met = torch.zeros(attention.n_heads, len(x), len(x), dtype=torch.bool)
    for bucket in buckets:
        for head in range(attention.n_heads):
            for sample in range(layout.n_samples):
                for number in range(2 * attention.directions.shape[-1]):
                    members = ((layout.sample == sample) & (bucket[head] == number)).nonzero().flatten().tolist()
                    for i, query in enumerate(members):
                        for j, key in enumerate(members):
                            met[head, query, key] |= abs(i - j) <= attention.chunk_size
    return met & allowed


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 14), min_size=1, max_size=4).filter(sum),
    rule=st.sampled_from([Full(), Causal(), Window(left=3, right=1)]),
    n_rounds=st.integers(1, 3),
    chunk_size=st.integers(1, 5),
    heads=st.sampled_from([{}, {"scale": 3.0, "score": torch.tanh}]),
)
def test_the_rounds_together_are_one_softmax_over_the_pairs_that_met(lengths, rule, n_rounds, chunk_size, heads):
    torch.manual_seed(0)
    sizes = {"d_model": 12, "n_heads": 3, "n_rounds": n_rounds, "n_buckets": 4, "chunk_size": chunk_size}
    attention = ReformerAttention(**sizes, **heads, seed=0)
    layout = Layout.from_lengths(*lengths)
    x = torch.randn(sum(lengths), 12)
    expected = softmax_over(attention, x, pairs_that_meet(attention, x, layout, rule))
    torch.testing.assert_close(run(attention, x, layout, rule), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_attention_approaches_the_exact_one_as_rounds_grow():
    torch.manual_seed(1)
    layout = Layout.from_lengths(40, 10)
    x = torch.randn(50, 16)
    errors = []
    for n_rounds in (1, 2, 4, 8, 32):
        total = 0.0
        for seed in range(3):
            torch.manual_seed(2)
            attention = ReformerAttention(d_model=16, n_heads=2, n_rounds=n_rounds, n_buckets=2, seed=seed)
            exact = softmax_over(attention, x, Causal().mask(layout).expand(2, 50, 50))
            total += (run(attention, x, layout, Causal()) - exact).norm().item() / exact.norm().item()
        errors.append(total / 3)
    assert all(b < a for a, b in pairwise(errors))
    assert errors[0] > 0.1
    assert errors[-1] < 1e-4


@pytest.mark.parametrize("rule", [Full(), Causal()])
def test_gradients_are_those_of_the_softmax_over_the_pairs_that_met(rule):
    torch.manual_seed(3)
    attention = ReformerAttention(d_model=8, n_heads=2, n_rounds=2, n_buckets=4, chunk_size=3, seed=0)
    layout = Layout.from_lengths(9, 1, 0, 12)
    x = torch.randn(22, 8, requires_grad=True)
    expected = softmax_over(attention, x, pairs_that_meet(attention, x, layout, rule))
    inputs = [x, *attention.parameters()]
    weight = torch.randn(22, 8)
    right = torch.autograd.grad((expected * weight).sum(), inputs)
    mine = torch.autograd.grad((run(attention, x, layout, rule) * weight).sum(), inputs)
    for a, b in zip(mine, right, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_a_sample_changes_no_bit_of_its_neighbours_even_when_it_is_nan():
    attention = ReformerAttention(d_model=8, n_heads=2, n_buckets=4, chunk_size=4)
    layout = Layout.from_lengths(30, 7, 0, 40)
    x = torch.randn(77, 8)
    other = x.clone()
    other[30:37] = torch.nan
    before, after = run(attention, x, layout, Full()), run(attention, other, layout, Full())
    assert torch.equal(before[:30], after[:30])
    assert torch.equal(before[37:], after[37:])


def test_a_later_token_changes_nothing_before_it():
    """Only rounding may differ: the later token moves the others within the sorted order, not what they see."""
    torch.manual_seed(4)
    attention = ReformerAttention(d_model=8, n_heads=2, n_buckets=4, chunk_size=3)
    layout = Layout.from_lengths(50)
    x = torch.randn(50, 8)
    for t in (10, 30, 49):
        other = x.clone()
        other[t:] = torch.randn(50 - t, 8)
        before, after = run(attention, x, layout, Causal()), run(attention, other, layout, Causal())
        torch.testing.assert_close(before[:t], after[:t], rtol=1e-5, atol=1e-6)


def test_a_query_that_may_attend_to_nothing_yields_zero_and_zero_gradient():
    attention = ReformerAttention(d_model=8, n_heads=2, bias=False)
    layout = Layout(lengths=torch.tensor([3]), edges=torch.tensor([[0], [1]]))
    x = torch.randn(3, 8, requires_grad=True)
    out = run(attention, x, layout, Neighbours())
    assert torch.equal(out[[0, 2]], torch.zeros(2, 8))
    (grad,) = torch.autograd.grad(out[[0, 2]].sum(), x)
    assert torch.equal(grad, torch.zeros(3, 8))


def test_a_bias_is_added_to_the_scores_of_its_own_head():
    class Distance(torch.nn.Module):
        def forward(self, query, key):
            return torch.tensor([-100.0, 0.0]).view(2, *[1] * query.token.ndim) * (query.index - key.index).abs()

    attention = ReformerAttention(d_model=8, n_heads=2, n_rounds=20, n_buckets=2)
    layout = Layout.from_lengths(6)
    x = torch.randn(6, 8)
    plan = lower(Causal(), layout)
    qk, v = (heads.transpose(0, 1) for heads in heads_of(attention, x))
    mixed, plain = (attention.attend(qk, qk, v, plan, bias) for bias in (Distance(), None))
    torch.testing.assert_close(mixed[2:, 0], v[1:-1, 0], rtol=1e-4, atol=1e-4)  # the nearest other token wins
    torch.testing.assert_close(mixed[:, 1], plain[:, 1])


def test_bad_arguments_are_refused_with_the_numbers():
    with pytest.raises(ValueError, match="n_kv_heads=1 must be n_heads=2"):
        ReformerAttention(d_model=8, n_heads=2, n_kv_heads=1)
    with pytest.raises(ValueError, match="n_buckets=5 must be even"):
        ReformerAttention(d_model=8, n_heads=2, n_buckets=5)


def test_a_batch_without_tokens_passes():
    attention = ReformerAttention(d_model=8, n_heads=2)
    assert run(attention, torch.zeros(0, 8), Layout.from_lengths(0, 0), Causal()).shape == (0, 8)
