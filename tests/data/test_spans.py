from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omniformer.data import spans

sizes = {"n_tokens": st.integers(0, 60), "share": st.floats(0.01, 1.0), "mean_span": st.integers(1, 12)}


def chance(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.fixed_dictionaries(sizes), st.integers(0, 5))
def test_spans_lie_apart_in_order_and_hide_the_share(given_sizes, seed):
    found = spans.random_spans(**given_sizes, generator=chance(seed))
    n, share = given_sizes["n_tokens"], given_sizes["share"]
    assert sum(end - begin for begin, end in found) == (min(n, max(1, round(share * n))) if n else 0)
    assert len(found) == spans.n_random_spans(**given_sizes)
    places = [place for span in found for place in span]
    assert all(begin < end for begin, end in found)
    assert places == sorted(places)
    assert all(after[0] > before[1] for before, after in pairwise(found))
    assert not found or (found[0][0] >= 0 and found[-1][1] <= n)


@given(st.fixed_dictionaries(sizes))
def test_masks_hide_the_share_and_at_least_one(given_sizes):
    mask = spans.random_mask(**given_sizes, generator=chance())
    n, share = given_sizes["n_tokens"], given_sizes["share"]
    assert len(mask) == n
    assert int(mask.sum()) == (min(n, max(1, round(share * n))) if n else 0)


def test_every_way_to_place_a_span_is_equally_likely():
    generator = chance()
    counts = Counter(spans.random_spans(6, share=0.34, mean_span=2, generator=generator)[0][0] for _ in range(5000))
    assert sorted(counts) == [0, 1, 2, 3, 4]
    assert all(abs(count - 1000) < 150 for count in counts.values())


def test_single_tokens_may_be_neighbours():
    generator = chance()
    masks = [spans.random_mask(4, share=0.5, mean_span=1, generator=generator).tolist() for _ in range(600)]
    counts = Counter(map(tuple, masks))
    assert len(counts) == 6
    assert min(counts.values()) > 60


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"share": 0.0, "mean_span": 1}, "share=0.0 must be above 0"),
        ({"share": 1.5, "mean_span": 1}, "share=1.5"),
        ({"share": 0.5, "mean_span": 0}, "mean_span=0 must be at least 1"),
    ],
)
def test_impossible_numbers_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        spans.check(**wrong)
