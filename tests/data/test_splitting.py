import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniformer.data.splitting import hashed_split

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
