"""What is said of the rows of predictions, whatever they are of."""

import math

import pytest

from omniformer.report.writing import KINDS

ROWS = {
    "Classes": {"target": "a", "prediction": "b", "scores": {"b": 0.7, "a": 0.2}},
    "Lists": {"target": ["a", "b"], "prediction": ["a", "c"], "scores": [0.9, 0.6], "tokens": [0, 1]},
    "Questions": {
        "target": {"q": True, "r": None},
        "prediction": {"q": False, "r": True},
        "scores": {"q": 0.1, "r": 0.9},
    },
    "Numbers": {"target": 2.0, "prediction": 3.5},
    "Texts": {"target": "a dog", "prediction": "a cat"},
    "Spans": {"target": [1, 2], "prediction": None},
    "Nearest": {"target": "x", "prediction": {"a_to_b": "y"}, "rank": {"a_to_b": 3}, "scores": {"a_to_b": 0.5}},
}
RIGHT = {
    "Classes": {"target": "a", "prediction": "a", "scores": {"a": 0.6}},
    "Lists": {"target": ["a"], "prediction": ["a"], "scores": [0.9]},
    "Questions": {"target": {"q": True}, "prediction": {"q": True}, "scores": {"q": 0.9}},
    "Texts": {"target": "a", "prediction": "a"},
    "Spans": {"target": [1, 2], "prediction": [1, 2]},
    "Nearest": {"target": "x", "prediction": {"a_to_b": "x"}, "rank": {"a_to_b": 1}, "scores": {"a_to_b": 0.9}},
}


def kind_of(row):
    return next(kind for kind in KINDS if kind.fits(row))


@pytest.mark.parametrize("name", ROWS)
def test_each_form_of_rows_is_known(name):
    assert type(kind_of(ROWS[name])).__name__ == name


@pytest.mark.parametrize("name", RIGHT)
def test_a_mistake_is_above_zero_and_what_is_right_is_not(name):
    kind = kind_of(ROWS[name])
    assert kind.mistake(ROWS[name]) > 0 >= kind.mistake(RIGHT[name])


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_judged_and_told(name):
    kind = kind_of(ROWS[name])
    assert kind.judged([ROWS[name], ROWS[name]])
    assert all(isinstance(line, str) for line in kind.told(ROWS[name]))


def test_lists_of_numbers_are_numbers_and_what_is_not_known_does_not_count():
    row = {"target": [1.0, None], "prediction": [2.0, 5.0]}
    kind = kind_of(row)
    assert type(kind).__name__ == "Numbers"
    assert kind.mistake(row) == 1.0
    assert math.isnan(kind.mistake({"target": [None], "prediction": [5.0]}))


def test_the_most_frequent_class_and_the_mean_are_what_simple_answers_score():
    assert list(kind_of(ROWS["Classes"]).trivial([ROWS["Classes"], RIGHT["Classes"]]).values()) == ["1.0000"]
    numbers = [{"target": 1.0, "prediction": 0.0}, {"target": 3.0, "prediction": 0.0}]
    assert kind_of(numbers[0]).trivial(numbers) == {"RMSE of always the mean of these targets": "1"}


def test_a_pair_that_is_denied_is_as_sure_as_its_no():
    row = {"target": [False], "prediction": [False], "scores": [0.1], "pairs": [[0, 1]]}
    assert kind_of(row).said(row) == [("no", "no", 0.9)]
