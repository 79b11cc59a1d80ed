import pytest

from omniformer.data.table.conditions import Conditions


@pytest.mark.parametrize(
    ("written", "row", "holds"),
    [
        ("take < 5", {"take": "4"}, True),
        ("take < 5", {"take": "10"}, False),  # by size, not letter by letter
        ("take >= 5", {"take": 5}, True),
        ("row % 10 == 1", {"row": 21}, True),
        ("row % 10 == 1", {"row": 20}, False),
        ("speaker == theo", {"speaker": " theo "}, True),
        ("speaker != theo", {"speaker": "lucas"}, True),
        ("valid == false", {"valid": False}, True),
        ("valid == false", {"valid": True}, False),
        ("test_fold == 3", {"test_fold": 3}, True),
        ("test_fold == 3", {"test_fold": -1}, False),
        ("two words == a b", {"two words": "a b"}, True),
        ("take < 5 and speaker == theo", {"take": "4", "speaker": "theo"}, True),
        ("take < 5 and speaker == theo", {"take": "4", "speaker": "lucas"}, False),
    ],
)
def test_a_condition_compares_cells(written, row, holds):
    assert (Conditions.of({"test": written}).split(row) == "test") == holds


def test_the_first_condition_that_holds_counts_and_none_says_nothing():
    rule = Conditions.of({"out": "take < 2", "test": "take < 5", "val": "take < 10"})
    assert [rule.split({"take": take}) for take in (1, 4, 9, 10)] == ["out", "test", "val", None]
    assert rule.columns == ("take",)


@pytest.mark.parametrize("written", ["take", "take ~ 5", "take % x == 1", ""])
def test_what_is_no_condition_is_told_with_how_they_are_written(written):
    with pytest.raises(ValueError, match=r"cannot be read; write a column, a sign and a value, such as 'take < 5'"):
        Conditions.of({"test": written})


def test_other_splits_and_cells_without_numbers_are_told():
    with pytest.raises(ValueError, match="condition for 'dev'; accepted are train, val, test and out"):
        Conditions.of({"dev": "take < 5"})
    with pytest.raises(ValueError, match="column 'take' holds 'many', which is no number to compare"):
        Conditions.of({"test": "take < 5"}).split({"take": "many"})
