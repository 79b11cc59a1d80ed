import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniformer.data.splitting import hashed_split, share_of

keys = st.lists(st.text(max_size=5), unique=True, max_size=60)


@given(keys, st.floats(0, 0.45), st.floats(0, 0.45))
def test_every_item_is_in_exactly_one_split(names, val, test):
    split = hashed_split(names, val=val, test=test)
    assert sorted(i for items in split.values() for i in items) == list(range(len(names)))


@given(keys)
def test_shares_are_kept_to_one_item(names):
    split = hashed_split(names, val=0.1, test=0.2)
    assert abs(len(split["test"]) - 0.2 * len(names)) <= 1
    assert abs(len(split["val"]) - 0.1 * len(names)) <= 1


def test_a_split_follows_names_and_not_their_order():
    names = [f"item {i}" for i in range(40)]
    forward, backward = hashed_split(names), hashed_split(names[::-1])
    for part in forward:
        assert {names[i] for i in forward[part]} == {names[::-1][i] for i in backward[part]}


def test_each_stratum_is_split_by_itself():
    names = [f"item {i}" for i in range(200)]
    split = hashed_split(names, val=0.1, test=0.2, strata=[i % 2 for i in range(200)])
    for part, size in {"train": 70, "val": 10, "test": 20}.items():
        assert [sum(i % 2 == kind for i in split[part]) for kind in (0, 1)] == [size, size]


def test_shares_count_weights_where_there_are_any():
    names = [f"item {i}" for i in range(300)]
    weights = [1 + i % 7 for i in range(300)]
    split = hashed_split(names, val=0.1, test=0.1, weights=weights)
    assert sum(weights[i] for i in split["test"]) / sum(weights) == pytest.approx(0.1, abs=0.01)


def test_equal_names_are_refused_and_named():
    with pytest.raises(ValueError, match="two items are called 'a'"):
        hashed_split(["a", "b", "a"])


@pytest.mark.parametrize("shares", [{"val": -0.1}, {"val": 0.5, "test": 0.5}])
def test_shares_that_leave_nothing_for_training_are_refused(shares):
    with pytest.raises(ValueError, match="must be 0 or more and leave something for training"):
        hashed_split(["a"], **shares)


def test_a_share_takes_of_each_kind_and_at_least_one():
    names, kinds = [f"item {i}" for i in range(203)], ["many"] * 150 + ["some"] * 50 + ["few"] * 3
    chosen = [kinds[i] for i in share_of(names, 0.1, strata=kinds)]
    assert {kind: chosen.count(kind) for kind in set(kinds)} == {"many": 15, "some": 5, "few": 1}


@given(keys, st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_smaller_share_is_part_of_a_larger_one(names, one, other):
    smaller, larger = (set(share_of(names, share)) for share in sorted((one, other)))
    assert smaller <= larger <= set(range(len(names)))
    assert set(share_of(names, 1)) == set(range(len(names)))


def test_a_share_follows_names_and_not_their_order():
    names = [f"item {i}" for i in range(40)]
    forward, backward = share_of(names, 0.3), share_of(names[::-1], 0.3)
    assert {names[i] for i in forward} == {names[::-1][i] for i in backward}
    assert forward == sorted(forward) != list(range(12))


@pytest.mark.parametrize("share", [0, -0.1, 1.5])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match=f"share={share} must be above 0 and at most 1"):
        share_of(["a"], share)
