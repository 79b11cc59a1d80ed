from types import FunctionType

import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.core.rules import BlockWindow, RandomBlocks, Strided, bigbird, longformer, mistral, sparse_transformer


def by_pairs(length, says):
    return torch.tensor([[bool(says(i, j)) for j in range(length)] for i in range(length)])


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (Strided(3), lambda i, j: (i - j) % 3 == 0),
        (BlockWindow(3, left=1, right=0), lambda i, j: i // 3 - 1 <= j // 3 <= i // 3),
        (mistral(window=4), lambda i, j: i - 3 <= j <= i),
        (mistral(window=4, sinks=2), lambda i, j: j <= i and (j >= i - 3 or j < 2)),
        (longformer(window=4, n_global=1), lambda i, j: abs(i - j) <= 2 or i == 0 or j == 0),
        (sparse_transformer(stride=4), lambda i, j: j <= i and (j >= i - 4 or (i - j) % 4 == 0)),
    ],
    ids=lambda value: None if isinstance(value, FunctionType) else str(value),
)
def test_a_pattern_allows_the_pairs_its_paper_says(rule, says):
    assert torch.equal(rule.mask(Layout.from_lengths(14)), by_pairs(14, says))


def test_random_blocks_are_whole_blocks_and_at_most_as_many_as_asked():
    size, n = 4, 2
    mask = RandomBlocks(size, n, seed=1).mask(Layout.from_lengths(40)).view(10, size, 10, size)
    blocks = mask.any(3).any(1)
    assert torch.equal(mask, blocks[:, None, :, None].expand_as(mask))
    assert blocks.sum(1).ge(1).all() and blocks.sum(1).le(n).all()


def test_random_blocks_depend_on_the_length_and_the_seed_and_not_on_the_batch():
    rule = RandomBlocks(2, 2, seed=3)
    alone = rule.mask(Layout.from_lengths(30))
    assert torch.equal(rule.mask(Layout.from_lengths(7, 30, 30))[7:37, 7:37], alone)
    assert torch.equal(rule.mask(Layout.from_lengths(7, 30, 30))[37:, 37:], alone)
    assert not torch.equal(RandomBlocks(2, 2, seed=4).mask(Layout.from_lengths(30)), alone)


def test_random_blocks_fall_evenly_on_a_sample():
    drawn = RandomBlocks(1, 3).chosen(torch.arange(4000), torch.full((4000,), 8))
    counts = torch.bincount(drawn.flatten(), minlength=8)
    # 1,500 expected in each of 8; six deviations of the binomial are 217.
    assert (counts - 1500).abs().max() < 217
    assert torch.corrcoef(drawn.t().float()).triu(1).abs().max() < 0.1


def test_bigbird_is_neighbours_globals_and_its_random_blocks():
    layout, size = Layout.from_lengths(48), 4
    expected = by_pairs(48, lambda i, j: abs(i // size - j // size) <= 1 or min(i, j) < size)
    expected |= RandomBlocks(size, 3, seed=9).mask(layout)
    assert torch.equal(bigbird(size=size, n_random=3, n_global=1, seed=9).mask(layout), expected)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Strided(0), "stride=0"),
        (lambda: BlockWindow(0), "size=0"),
        (lambda: BlockWindow(2, left=-1), "left=-1"),
        (lambda: RandomBlocks(size=0), "size=0"),
        (lambda: RandomBlocks(n=-1), "n=-1"),
        (lambda: mistral(window=0), "window=0"),
    ],
)
def test_bad_arguments_are_refused_with_their_number(build, message):
    with pytest.raises(ValueError, match=message):
        build()
