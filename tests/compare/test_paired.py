"""Paired tests, beside exact enumeration and scipy."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest

from omniformer.compare.paired import paired


def test_right_and_wrong_answers_are_compared_by_the_exact_test_of_mcnemar():
    first, second = [1] * 12 + [0] * 9 + [1] * 30, [0] * 12 + [1] * 9 + [1] * 30
    outcome = paired(first, second)
    assert outcome.test == "McNemar, exact"
    assert outcome.p == pytest.approx(binomtest(9, 21).pvalue)
    assert outcome.difference == pytest.approx(-3 / 51)


def test_equal_answers_do_not_differ():
    assert paired([1, 0, 1], [1, 0, 1]).p == 1.0


def test_other_scores_are_compared_by_signs_at_random_as_enumeration_would():
    generator = np.random.default_rng(1)
    first, second = generator.normal(size=8), generator.normal(0.6, size=8)
    differences = second - first
    sums = [abs((differences * signs).sum()) for signs in product([-1, 1], repeat=8)]
    exact = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-9)
    assert paired(first, second).p == pytest.approx(exact, abs=0.02)


def test_the_interval_holds_the_difference():
    generator = np.random.default_rng(2)
    outcome = paired(generator.normal(size=100), generator.normal(0.5, size=100))
    assert outcome.low < outcome.difference < outcome.high


def test_scores_of_other_samples_are_refused():
    with pytest.raises(ValueError, match="received 2 and 1 scores"):
        paired([1, 0], [1])
