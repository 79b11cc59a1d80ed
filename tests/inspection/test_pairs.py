import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Neighbours, Prefix, Self, Window
from omniformer.inspection.pairs import count_pairs

LAYOUT = Layout(
    lengths=torch.tensor([5, 0, 3]),
    prefix=torch.tensor([2, 0, 1]),
    edges=torch.tensor([[0, 1, 1, 6, 2], [1, 0, 0, 7, 4]]),
)


@pytest.mark.parametrize(
    "rule",
    [
        Full(),
        Causal(),
        Window(left=1, right=2),
        Causal() | Prefix(),
        Neighbours() | Self(),
        ~Causal(),
        Causal() & Window(left=2),
    ],
    ids=str,
)
def test_the_count_is_that_of_the_mask(rule):
    assert count_pairs(rule, LAYOUT) == int(rule.mask(LAYOUT).sum())


def test_long_samples_are_counted_in_strips():
    n = 3000
    assert count_pairs(Causal() & Window(left=9), Layout.from_lengths(n)) == 10 * n - 45


def test_queries_and_keys_may_be_of_different_samples():
    keys = Layout.from_lengths(2, 4, 1)
    assert count_pairs(Full(), LAYOUT, keys) == 5 * 2 + 3 * 1
    assert count_pairs(Causal(), LAYOUT, keys) == int(Causal().mask(LAYOUT, keys).sum())
