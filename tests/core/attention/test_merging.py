import pytest
import torch

from omniformer.core.attention.merging import left_by, merge
from omniformer.core.attention.plan import lower
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Neighbours, Rule, Self, Window


class Half(Rule):
    """The keys of even places, or those of odd ones."""

    def __init__(self, odd):
        self.odd = odd

    def attend(self, query, key):
        return (key.index % 2 == self.odd) & (query.index >= 0)


@pytest.mark.parametrize("rule", [Full(), Causal(), Window(1, 0)])
def test_halves_of_the_keys_merged_are_all_keys_in_output_and_gradients(rule):
    torch.manual_seed(0)
    layout = Layout.from_lengths(7, 1, 4)
    q, k, v = (torch.randn(12, n, width, dtype=torch.float64) for n, width in ((4, 3), (2, 3), (2, 5)))
    results = []
    for rules in ([rule], [rule & Half(0), rule & Half(1)]):
        leaves = [x.clone().requires_grad_() for x in (q, k, v)]
        plans = [lower(each, layout) for each in rules]
        out, lse = merge([plan.attend(*leaves) for plan in plans], [plan.lse(*leaves[:2]) for plan in plans])
        grads = torch.autograd.grad(out.square().sum() + lse.sin().sum(), leaves)
        results.append([out, lse, *grads])
    for whole, merged in zip(*results, strict=True):
        torch.testing.assert_close(merged, whole, rtol=1e-10, atol=1e-10)


def test_nothing_merged_with_nothing_is_nothing_with_gradients_of_zero():
    lses = [torch.full((1, 1), -torch.inf, requires_grad=True) for _ in range(2)]
    out, lse = merge([torch.zeros(1, 1, 2)] * 2, lses)
    out.sum().backward()
    assert (out.tolist(), lse.tolist()) == ([[[0.0, 0.0]]], [[-torch.inf]])
    assert all(torch.equal(each.grad, torch.zeros(1, 1)) for each in lses)


def test_a_sink_takes_as_much_as_a_key_of_its_score():
    lse = torch.tensor([[3.0]]).logsumexp(-1, keepdim=True)
    assert left_by(torch.tensor([3.0]), lse).item() == 0.5


def test_a_query_with_neighbours_alone_has_their_log_sum_exp():
    layout = Layout(lengths=torch.tensor([3]), edges=torch.tensor([[0], [1]]))
    q = k = torch.ones(3, 1, 4, dtype=torch.float64)
    found = lower(Neighbours(), layout, kernel="edges").lse(q, k, scale=1.0)
    assert sorted(found.flatten().tolist()) == [-torch.inf, -torch.inf, 4.0]
    both = lower(Neighbours() | Self(), layout, kernel="edges").lse(q, k, scale=1.0)
    assert sorted(both.flatten().tolist()) == pytest.approx([4.0, 4.0, 4.0 + torch.log(torch.tensor(2.0)).item()])
