from types import FunctionType

import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Global, Prefix, Self, Sinks, Window

LAYOUT = Layout(
    lengths=torch.tensor([5, 0, 4]),
    prefix=torch.tensor([2, 0, 0]),
    features={"star": torch.tensor([0, 0, 0, 1, 0, 0, 0, 0, 0])},
)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (Full(), lambda i, j, n, s: True),
        (Causal(), lambda i, j, n, s: j <= i),
        (Self(), lambda i, j, n, s: i == j),
        (Window(2, 1), lambda i, j, n, s: i - 2 <= j <= i + 1),
        (Window(left=1), lambda i, j, n, s: j >= i - 1),
        (Window(right=1), lambda i, j, n, s: j <= i + 1),
        (Window(0, 0), lambda i, j, n, s: i == j),
        (Sinks(2), lambda i, j, n, s: j < 2),
        (Sinks(0), lambda i, j, n, s: False),
        (Prefix(), lambda i, j, n, s: s == 0 and j < 2),
        (Global(first=1), lambda i, j, n, s: i == 0 or j == 0),
        (Global(feature="star"), lambda i, j, n, s: s == 0 and 3 in (i, j)),
        (Global(first=1, feature="star"), lambda i, j, n, s: 0 in (i, j) or (s == 0 and 3 in (i, j))),
    ],
    ids=lambda value: None if isinstance(value, FunctionType) else str(value),
)
def test_a_rule_allows_the_pairs_its_words_say(rule, says):
    expected = torch.zeros(9, 9, dtype=torch.bool)
    for sample, (start, length) in enumerate(((0, 5), (5, 0), (5, 4))):
        for i in range(length):
            for j in range(length):
                expected[start + i, start + j] = says(i, j, length, sample)
    assert torch.equal(rule.mask(LAYOUT), expected)


def test_queries_after_a_cache_see_the_keys_before_them():
    new = Layout(lengths=torch.tensor([1, 2]), start=torch.tensor([3, 0]))
    seen = Layout.from_lengths(4, 2)
    assert (Causal() & Window(left=2)).draw(new).splitlines() == ["■ · ·", "· ■ ·", "· ■ ■"]
    assert (Causal() & Window(left=2)).mask(new, seen).int().tolist() == [
        [0, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 1],
    ]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Window(left=-1), r"Window\(left=-1\)"),
        (lambda: Window(right=-2), r"Window\(right=-2\)"),
        (lambda: Sinks(-1), "n=-1"),
        (lambda: Global(first=-3), "first=-3"),
        (lambda: Prefix().mask(Layout.from_lengths(2)), "prefix"),
        (lambda: Global(feature="star").mask(Layout.from_lengths(2)), "star"),
    ],
)
def test_bad_arguments_are_refused_with_their_number(build, message):
    with pytest.raises(ValueError, match=message):
        build()
