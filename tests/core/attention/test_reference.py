import math

import pytest
import torch
from torch.nn import functional

from omniformer.core.attention.reference import Reference, masked_softmax
from omniformer.core.biases import Bias
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Sinks, Window


class Distance(Bias):
    def forward(self, query, key):
        return -0.3 * (query.index - key.index).abs()[None] * torch.tensor([1.0, 2.0]).view(2, *[1] * query.token.ndim)


def by_loops(q, k, v, rule, layout, scale, bias=None, score=None):
    """One query, one head, one key at a time."""
    mask, group = rule.mask(layout), q.shape[1] // k.shape[1]
    added = None if bias is None else bias(layout.view()[:, None], layout.view()[None, :])
    out = torch.zeros(len(q), q.shape[1], v.shape[2], dtype=q.dtype)
    for i in range(len(q)):
        for h in range(q.shape[1]):
            keys = mask[i].nonzero().flatten().tolist()
            if not keys:
                continue
            scores = [scale * float(q[i, h] @ k[j, h // group]) for j in keys]
            scores = [score(torch.tensor(s)).item() for s in scores] if score else scores
            scores = [s + (0.0 if added is None else float(added[h, i, j])) for s, j in zip(scores, keys, strict=True)]
            total = sum(math.exp(s) for s in scores)
            out[i, h] = sum(math.exp(s) / total * v[j, h // group] for s, j in zip(scores, keys, strict=True))
    return out


@pytest.mark.parametrize("rule", [Full(), Causal(), Window(1, 1), Window(1, 0) & ~Sinks(1)], ids=str)
@pytest.mark.parametrize("bias", [None, Distance()], ids=["no bias", "bias"])
@pytest.mark.parametrize("score", [None, torch.tanh], ids=["no score", "score"])
def test_against_plain_loops(rule, bias, score):
    layout = Layout.from_lengths(3, 0, 1, 5)
    q, k, v = torch.randn(9, 2, 4), torch.randn(9, 1, 4), torch.randn(9, 1, 4)
    out = Reference(rule, layout, layout)(q, k, v, scale=0.4, bias=bias, score=score)
    torch.testing.assert_close(out, by_loops(q, k, v, rule, layout, 0.4, bias, score), rtol=1e-5, atol=1e-6)


def test_against_pytorch_attention():
    layout = Layout.from_lengths(6)
    q, k, v = (torch.randn(6, 2, 4) for _ in range(3))
    out = Reference(Causal(), layout, layout)(q, k, v, scale=0.5)
    expected = functional.scaled_dot_product_attention(
        *(x.transpose(0, 1) for x in (q, k, v)), is_causal=True, scale=0.5
    )
    torch.testing.assert_close(out, expected.transpose(0, 1))


def test_weights_of_each_query_sum_to_one_or_to_zero_where_it_has_no_keys():
    layout, keys = Layout.from_lengths(2, 3), Layout.from_lengths(0, 4)
    q, k = torch.randn(5, 2, 4), torch.randn(4, 2, 4)
    first, second = Reference(Window(0, 0), layout, keys).weights(q, k, scale=1.0)
    assert first.shape == (2, 2, 0)
    torch.testing.assert_close(second.sum(-1), torch.ones(2, 3))


def test_a_batch_without_samples_gives_nothing():
    layout = Layout(lengths=torch.zeros(0, dtype=torch.long))
    q = torch.zeros(0, 2, 4, requires_grad=True)
    out = Reference(Full(), layout, layout)(q, q, q, scale=1.0)
    out.sum().backward()
    assert out.shape == (0, 2, 4) and q.grad.shape == (0, 2, 4)


def test_a_query_without_keys_gets_zero_weight_and_zero_gradient():
    scores = torch.randn(2, 3, requires_grad=True)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    weights = masked_softmax(scores, mask)
    assert weights[0, 1] == 0
    assert weights[0].sum().item() == pytest.approx(1)
    assert not weights[1].any()
    (gradient,) = torch.autograd.grad(weights.square().sum(), scores)
    assert not gradient[1].any()
    assert gradient.isfinite().all()
