"""Small networks answer the test with the weights that validate best, and are asked for it only then."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from omniformer.baselines.training import trained


@pytest.fixture
def told(texts):
    """What a network says that is right about so many of the validation samples, one number a validation, and at which
    validations the test was read.
    """

    def make(right, without=()):
        problem, model, asked = texts(), nn.Linear(1, 2), []
        for split in without:
            del problem.raws[split]
        now = -1  # steps less one: there is a validation behind each here

        def forward(split, places):
            nonlocal now
            if split == "train":
                now += 1
                return model(torch.ones(len(places), 1))
            if split == "val":
                known = problem.targets("val")[places]
                wrong = (torch.arange(len(places)) >= right[now]).long()
                return F.one_hot((known + wrong) % 2, 2).float()
            asked.append(now)
            return torch.full((len(places), 2), float(now))

        return trained(problem, model, forward, lr=0.1, steps=len(right)), asked

    return make


def test_the_best_on_validation_answers_and_no_other_reads_the_test(told):
    said, asked = told([2, 1, 5, 5, 3, 6, 0])
    assert asked == [0, 2, 5]
    assert said["test"].unique().tolist() == [5.0]


def test_without_validation_the_last_answers(told):
    said, asked = told([0, 0, 0], without=["val"])
    assert asked == [2] and set(said) == {"test"}
