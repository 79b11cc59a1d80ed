"""Time series: one linear map of all their values."""

import torch
from torch import Tensor

from omniformer.baselines.dense import DenseLinear
from omniformer.baselines.problem import Problem
from omniformer.data.source import Split


class Values(DenseLinear):
    """Ridge or logistic regression on the values of a series as they are, which forecasts about as well as transformers
    do (DLinear and NLinear, [Zeng et al. 2023](https://arxiv.org/abs/2205.13504)); for series of one length without
    gaps.
    """

    name = "linear on values"

    def fits(self, problem: Problem) -> bool:
        if problem.modalities != {"series"} or problem.kind == "node":
            return False
        series = [each for split in problem.raws for each in problem.contents(split, "series")]
        return all(each.shape == series[0].shape and not each.isnan().any() for each in series)

    def features(self, problem: Problem, split: Split) -> Tensor:
        return torch.stack([each.flatten().float() for each in problem.contents(split, "series")])
