"""The card of a run's model says what the run has measured, on which part of which data, and nothing else."""

import pytest

from omniformer.report.card import measured
from omniformer.report.run import Run

DATA = {"source": {"_target_": "omniformer.data.sets.digits.Digits"}}
MEMBER = {"data": DATA, "task": {"_target_": "a"}, "tokenizer": {"_target_": "b"}, "embedder": {"_target_": "c"}}


def run(tmp_path, numbers, **config):
    config = {"name": "vision"} | MEMBER | config
    return Run(folder=tmp_path, config=config, numbers=numbers, curves={})


def test_scores_are_those_of_test_and_the_best_of_validation(tmp_path):
    numbers = {"test/accuracy": 0.9, "best/val/accuracy": 0.8, "val/accuracy": 0.7, "train/loss": 0.1, "seed": 0}
    found = measured(run(tmp_path, numbers | {"baseline/always/test/accuracy": 0.1, "test/samples": 8}))
    told = [(each.metric, each.value, each.data, each.split) for each in found]
    assert told == [("accuracy", 0.9, "Digits", "test"), ("accuracy", 0.8, "Digits", "val")]


@pytest.mark.parametrize(("limit", "said"), [(4, "test, its first 4 batches"), (0.5, "test, 0.5 of its batches")])
def test_a_part_of_a_split_is_said_to_be_one(tmp_path, limit, said):
    (score,) = measured(run(tmp_path, {"test/loss": 2.0}, trainer={"limit_test_batches": limit}))
    assert score.split == said


def test_each_member_has_its_own_data(tmp_path):
    other = {"source": {"_target_": "omniformer.data.Table", "train": "mnist/mnist.npz", "ids": "mnist/{split}/{row}"}}
    members = {"digits": MEMBER, "mnist": MEMBER | {"data": other}}
    found = measured(run(tmp_path, {"mnist/test/accuracy": 0.5, "digits/test/accuracy": 0.6}, members=members))
    assert {(each.member, each.metric, each.data) for each in found} == {
        ("mnist", "accuracy", "mnist"),
        ("digits", "accuracy", "Digits"),
    }
