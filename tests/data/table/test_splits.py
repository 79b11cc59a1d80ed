import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniformer.data.table.splits import bound, by_hash, check_shares, digest_of, named

SHARES = (0.8, 0.1, 0.1)
names = st.lists(st.text(min_size=1, max_size=6), unique=True, min_size=1, max_size=60)


def split(keys, strata=None, **options):
    found = by_hash(keys, list(range(len(keys))), strata=strata, **{"shares": SHARES} | options)
    return dict(zip(keys, found, strict=True))


@given(keys=names, more=names)
def test_without_classes_a_rows_split_depends_on_nothing_but_itself(keys, more):
    both = list(dict.fromkeys([*more, *keys]))
    assert split(keys).items() <= split(both).items()


@given(keys=names, seed=st.integers(0, 99))
def test_the_order_of_rows_changes_no_split(keys, seed):
    strata = {key: hash(key) % 3 for key in keys}
    mixed = random.Random(seed).sample(keys, len(keys))
    for kinds in (None, strata):
        first, again = (split(each, None if kinds is None else [kinds[k] for k in each]) for each in (keys, mixed))
        assert first == again


@given(keys=names, n_classes=st.integers(1, 4))
def test_each_class_is_divided_to_within_one_row(keys, n_classes):
    strata = [len(key) % n_classes for key in keys]
    found = split(keys, strata)
    for kind in set(strata):
        members = [found[key] for key, each in zip(keys, strata, strict=True) if each == kind]
        counts = Counter(members)
        for name, share in zip(("train", "val", "test"), SHARES, strict=True):
            assert abs(counts[name] - share * len(members)) <= 1


@given(keys=names, more=names)
def test_rows_of_another_class_change_no_split(keys, more):
    more = [key for key in more if key not in keys]
    assert (
        split(keys, ["a"] * len(keys)).items() <= split([*keys, *more], ["a"] * len(keys) + ["b"] * len(more)).items()
    )


@given(rows=st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=2), min_size=1, max_size=40))
def test_rows_that_share_a_key_are_never_apart(rows):
    sets = bound(rows)
    found = by_hash([min(keys) for keys in rows], sets, strata=None, shares=SHARES)
    for i, mine in enumerate(rows):
        for j, other in enumerate(rows):
            if set(mine) & set(other):
                assert sets[i] == sets[j] and found[i] == found[j]


def test_folds_test_every_row_once():
    keys = [f"row {i}" for i in range(50)]
    tested = [key for fold in range(5) for key, name in split(keys, fold=(fold, 5)).items() if name == "test"]
    assert sorted(tested) == sorted(keys)
    for strata in (None, [i % 2 for i in range(50)]):
        first, second = (split(keys, strata, fold=(fold, 5)) for fold in (0, 1))
        assert [key for key in keys if first[key] == "val"] == [key for key in keys if second[key] == "test"]


def test_common_names_of_splits_are_understood():
    words = ["train", "Training", "dev", "VALID", "validation", "test", " test ", None, "other"]
    expected = ["train", "train", "val", "val", "val", "test", "test", None, "other"]
    assert named(words, 0) == expected


def test_whole_numbers_are_folds_of_which_one_tests_and_the_next_validates():
    assert named(["1", "2", "10", 2], 1) == ["train", "test", "val", "test"]
    with pytest.raises(ValueError, match=r"fold=3 is not one of 0\.\.2"):
        named(["1", "2", "3"], 3)


def test_a_digest_names_what_a_row_holds():
    assert digest_of({"text": ["a"]}) == digest_of({"text": ["a"]}) != digest_of({"text": ["b"]})
    assert digest_of({"vision": [b"a"]}) != digest_of({"vision": [b"b"]})


@pytest.mark.parametrize(
    ("shares", "folds", "fold"), [((0.8, 0.1, 0.2), None, 0), ((0, 0.5, 0.5), None, 0), (SHARES, 2, 0), (SHARES, 5, 5)]
)
def test_shares_and_folds_that_mean_nothing_are_refused(shares, folds, fold):
    with pytest.raises(ValueError, match="must be|must"):
        check_shares(shares, folds, fold)
