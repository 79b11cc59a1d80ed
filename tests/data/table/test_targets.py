import math

import pytest

from omniformer.data.table.targets import (
    class_of,
    hot,
    in_order,
    number,
    span_of,
    tags_of,
    token_classes,
    yes_or_no,
)


@pytest.mark.parametrize(("cell", "expected"), [("1e3", 1000.0), (" -2.5 ", -2.5), (3, 3.0), (0.5, 0.5)])
def test_numbers_are_read_from_texts_and_numbers(cell, expected):
    assert number(cell) == expected


@pytest.mark.parametrize("cell", [None, "NA", "n/a", "NaN", "null", "?"])
def test_a_number_that_is_not_known_is_nan(cell):
    assert math.isnan(number(cell)) and math.isnan(yes_or_no(cell))


@pytest.mark.parametrize("cell", ["high", True, [1], "inf", float("-inf"), "1,5"])
def test_what_is_no_finite_number_is_refused(cell):
    with pytest.raises(ValueError, match="expected a (finite )?number, received"):
        number(cell)


def test_answers_are_yes_or_no_in_many_spellings():
    assert [yes_or_no(cell) for cell in ("1", 1, 1.0, True, "Yes", "TRUE")] == [1.0] * 6
    assert [yes_or_no(cell) for cell in ("0", 0, False, "no")] == [0.0] * 4
    with pytest.raises(ValueError, match="expected yes or no"):
        yes_or_no("maybe")


def test_classes_are_names_or_whole_numbers():
    assert [class_of(cell) for cell in (" cat ", 3, 3.0, True)] == ["cat", "3", "3", "True"]
    assert class_of(1, ("cat", "dog")) == "dog"
    with pytest.raises(ValueError, match="for numbers there is the role 'value'"):
        class_of(0.5)
    with pytest.raises(ValueError, match="class 2 is not one of the 2"):
        class_of(2, ("cat", "dog"))


def test_several_classes_are_a_list_or_stand_between_separators():
    assert tags_of("red; blue;", ";") == tags_of(["red", "blue"], ";") == ["red", "blue"]
    assert hot(["blue"], ["blue", "red"]).tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="expected a list of names"):
        tags_of(3, ";")


def test_words_have_one_class_each_or_none():
    assert token_classes("O B-PER") == ["O", "B-PER"]
    assert token_classes([0, None], ("O", "B-PER")) == ["O", None]


def test_classes_are_in_the_order_of_their_names_and_numbers_in_that_of_their_sizes():
    assert in_order(["b", "a", "b"]) == ("a", "b")
    assert in_order(["10", "9", "-1"]) == ("-1", "9", "10")
    assert in_order(["10", "9", "a"]) == ("10", "9", "a")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((2, 5, None), (2, 5)),
        ((2, None, "cat"), (2, 5)),
        ((None, None, "sat"), (6, 9)),
        (([2], None, ["cat"]), (2, 5)),
        (("2", "5", None), (2, 5)),
        ((None, None, None), (-1, -1)),
        (([], None, []), (-1, -1)),
        ((-1, -1, None), (-1, -1)),
    ],
)
def test_spans_are_places_or_answers_or_both(given, expected):
    assert span_of("a cat sat", *given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((2, 50, None), r"the span 2\.\.50 is not within the 9 characters"),
        ((3, None, "cat"), r"'at ' stands at 3\.\.6, not the answer 'cat'"),
        ((None, None, "dog"), "'dog' does not stand in the text"),
        ((2, None, None), "begins and does not end"),
        ((1.5, 3, None), "expected the number of a character"),
        ((5, 5, None), "is not within"),
    ],
)
def test_spans_that_do_not_fit_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        span_of("a cat sat", *given)
