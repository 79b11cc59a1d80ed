"""The numbers of a run as one table."""

from pathlib import Path

from omniformer.report.results import results
from omniformer.report.run import Run

NUMBERS = {"test/accuracy": 0.75, "best/val/accuracy": 0.5, "a/test/loss": 2.0, "a/train/samples": 9, "seed": 1}


def test_a_metric_is_a_row_and_a_stage_a_column_and_counts_are_none():
    run = Run(folder=Path(), config={}, numbers=NUMBERS | {"baseline/majority": 0.25}, curves={})
    scores, simple = results(run, {"always a": "0.4"}).blocks
    assert list(scores.header) == ["metric", "test", "best validation"]
    assert list(scores.rows) == [["a/loss", "2", ""], ["accuracy", "0.7500", "0.5000"]]
    assert scores.caption == ""
    assert [row[:2] for row in simple.rows] == [["majority", "0.2500"], ["always a", "0.4"]]


def test_of_several_members_it_is_said_what_loss_is_of():
    one = {"task": {}, "data": {}}
    run = Run(folder=Path(), config={"members": {"a": one, "b": one}}, numbers=NUMBERS, curves={})
    assert results(run, {}).blocks[0].caption.startswith("loss without a member's name: the mean over all")
