from itertools import pairwise

import pytest
import torch

from omniformer.core.attention.multihead import Context
from omniformer.core.attention.plan import lower
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full
from omniformer.core.variants.linformer import LinformerAttention


def run(attention, x, lengths):
    return attention(x, Context(plan=lower(Full(), Layout.from_lengths(*lengths))))


def exact(attention, x, lengths):
    plan = lower(Full(), Layout.from_lengths(*lengths), kernel="reference")
    options = {"scale": attention.scale, "score": attention.score}
    return attention.out(plan.attend(*attention.project(x, Context(plan=plan)), **options).flatten(1))


def set_squeeze(attention, squeeze):
    with torch.no_grad():
        attention.squeeze_k.copy_(squeeze)
        attention.squeeze_v.copy_(squeeze)


def test_ragged_samples_equal_the_formula_written_out():
    torch.manual_seed(0)
    attention = LinformerAttention(d_model=12, n_heads=3, max_seq_len=150, rank=10)
    lengths = [3, 0, 150, 70, 10]
    x = torch.randn(sum(lengths), 12)
    q, k, v = attention.project(x, Context(plan=lower(Full(), Layout.from_lengths(*lengths))))
    expected, start = [], 0
    for n in lengths:
        rows, slots = slice(start, start + n), min(n, 10)
        e, f = attention.squeeze_k[:n, :slots], attention.squeeze_v[:n, :slots]
        for_each_head = [
            torch.softmax(q[rows, h] @ (e.T @ k[rows, h]).T / 2, dim=-1) @ (f.T @ v[rows, h]) for h in range(3)
        ]
        expected.append(torch.cat(for_each_head, dim=-1))
        start += n
    torch.testing.assert_close(run(attention, x, lengths), attention.out(torch.cat(expected)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("heads", [{}, {"scale": 2.0, "score": torch.tanh, "out_bias": False}])
def test_the_identity_gives_exact_attention_and_gradients_for_every_length(heads):
    torch.manual_seed(1)
    attention = LinformerAttention(d_model=8, n_heads=2, n_kv_heads=1, max_seq_len=90, rank=90, **heads)
    set_squeeze(attention, torch.eye(90))
    lengths = [90, 1, 17, 0]
    x = torch.randn(sum(lengths), 8, requires_grad=True)
    mine, right = run(attention, x, lengths), exact(attention, x, lengths)
    torch.testing.assert_close(mine, right, rtol=1e-5, atol=1e-6)
    grads = [torch.autograd.grad(out.square().sum(), x, retain_graph=True)[0] for out in (mine, right)]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-6)


def test_the_error_falls_to_zero_as_the_rank_grows():
    """Averages of neighbouring tokens lose less and less of a smooth sequence."""
    torch.manual_seed(2)
    x = torch.randn(64, 8).cumsum(0) / 4
    errors = []
    for rank in (4, 8, 16, 32, 64):
        torch.manual_seed(3)
        attention = LinformerAttention(d_model=8, n_heads=2, max_seq_len=64, rank=rank)
        set_squeeze(attention, torch.eye(rank).repeat_interleave(64 // rank, dim=0) * rank / 64)
        errors.append((run(attention, x, [64]) - exact(attention, x, [64])).norm().item())
    assert all(b < a for a, b in pairwise(errors))
    assert errors[-1] < 1e-4


def test_a_sample_changes_no_bit_of_its_neighbours_even_when_it_is_nan():
    attention = LinformerAttention(d_model=8, n_heads=2, max_seq_len=100, rank=7)
    x = torch.randn(180, 8)
    other = x.clone()
    other[70:80] = torch.nan
    before, after = run(attention, x, [70, 10, 100]), run(attention, other, [70, 10, 100])
    assert torch.equal(before[:70], after[:70])
    assert torch.equal(before[80:], after[80:])


def test_bad_input_is_refused_with_both_numbers():
    attention = LinformerAttention(d_model=8, n_heads=2, max_seq_len=4, rank=2)
    with pytest.raises(ValueError, match="a sample has 5 tokens, Linformer attention max_seq_len=4"):
        run(attention, torch.randn(5, 8), [5])
    with pytest.raises(ValueError, match=r"can do Full\(\) only: its slots mix all tokens; received Causal\(\)"):
        attention(torch.randn(3, 8), Context(plan=lower(Causal(), Layout.from_lengths(3))))
    with pytest.raises(ValueError, match="rank=9 must be between 1 and max_seq_len=4"):
        LinformerAttention(d_model=8, n_heads=2, max_seq_len=4, rank=9)
