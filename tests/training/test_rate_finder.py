"""The range test: what is found on a curve, and that a run is as it was afterwards."""

import csv

import pytest
from tiny_runs import numbers, run

from omniformer.training.rate_finder import RateFinder, smoothed, steepest

RATES = [10 ** (-6 + 6 * i / 99) for i in range(100)]


def test_the_rate_is_where_the_curve_falls_fastest_not_where_it_is_lowest():
    losses = [3.0 if rate < 1e-4 else 3.0 - 0.9 * (i - 33) / 33 if rate < 1e-2 else 2.1 for i, rate in enumerate(RATES)]
    losses[50:] = [each - 0.5 for each in losses[50:]]
    assert RATES[48] <= steepest(RATES, losses) <= RATES[51]


def test_a_loss_that_never_falls_has_none():
    assert steepest(RATES, [1.0 + rate for rate in RATES]) is None
    assert steepest(RATES[:4], [4.0, 3.0, 2.0, 1.0]) is None  # too short for a slope


def test_smoothing_is_not_pulled_by_its_beginning():
    assert smoothed([2.0] * 5) == pytest.approx([2.0] * 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lowest": 1.0, "highest": 0.1}, "the rate rises from above 0"),
        ({"steps": 19}, "steps=19 are too few"),
    ],
)
def test_numbers_that_make_no_curve_are_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        RateFinder(output_dir=str(tmp_path), **options)


@pytest.mark.slow
def test_a_run_is_as_without_it_unless_it_may_take_the_rate(tmp_path):
    finder = ["callbacks=lr_finder", "callbacks.lr_finder.steps=30"]
    plain, tried, taken = (
        run(tmp_path / name, "modality=graph", *options)
        for name, options in (
            ("plain", []),
            ("tried", finder),
            ("taken", [*finder, "callbacks.lr_finder.apply=true"]),
        )
    )
    scores = [
        {name: value for name, value in numbers(each).items() if "loss" in name} for each in (plain, tried, taken)
    ]
    assert scores[0] == scores[1] != scores[2]
    with (tried / "lr_finder.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert 10 < len(rows) <= 30 and float(rows[0]["rate"]) == 1e-6
    assert float(rows[-1]["rate"]) > float(rows[-2]["rate"])
