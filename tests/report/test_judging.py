"""Scores of predicted classes, beside those of scikit-learn."""

import random

import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from omniformer.report.judging import calibration, class_scores, confusion, names

GENERATOR = random.Random(0)
PAIRS = [(GENERATOR.choice("abcd"), GENERATOR.choice("bcde")) for _ in range(200)]


def test_scores_of_each_class_are_those_of_scikit_learn():
    order = names(PAIRS)
    expected = precision_recall_fscore_support(*zip(*PAIRS, strict=True), labels=order, zero_division=0)
    scores = class_scores(PAIRS)
    assert [each.name for each in scores] == order
    for key, column in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [getattr(each, key) for each in scores] == pytest.approx(column.tolist())


def test_the_matrix_is_that_of_scikit_learn():
    order = names(PAIRS)
    assert confusion(PAIRS, order) == confusion_matrix(*zip(*PAIRS, strict=True), labels=order).tolist()


def test_what_is_right_as_often_as_it_says_has_no_error_of_calibration():
    _, error = calibration([(0.75, True)] * 3 + [(0.75, False)])
    assert error == 0


def test_the_error_of_calibration_is_the_distance_weighted_by_counts():
    bins, error = calibration([(0.95, False)] * 1 + [(0.55, True)] * 3)
    assert [each.count for each in bins] == [3, 1]
    assert error == pytest.approx(0.25 * 0.95 + 0.75 * 0.45)


def test_a_confidence_of_one_is_in_the_last_bin():
    assert calibration([(1.0, True)])[0][0].count == 1
