"""Pictures and sounds in ids: how often each id is, at its place and behind the id before it."""

from collections.abc import Mapping

import torch
from torch import Tensor

from omniformer.baselines.baseline import Baseline, evaluated
from omniformer.baselines.problem import Answers, Problem
from omniformer.data.source import Split

_WEIGHTS = (1.0, 10.0, 100.0)  # samples that the shares of all ids count as, in each context


class Counted(Baseline):
    """The share of each id in training, where its context is the same."""

    def fits(self, problem: Problem) -> bool:
        return problem.kind == "ids"

    def contexts(self, ids: Tensor) -> Tensor:
        """The context of each id that is predicted, a number from 0.

        Args:
            ids: int64 `[predicted + 1]` of one sample, the id that begins it first.
        """
        return torch.zeros_like(ids[1:])

    def answers(self, problem: Problem) -> Mapping[Split, Answers]:
        given = {split: torch.cat([self.contexts(each) for each in problem.ids(split)]) for split in problem.raws}
        known, n = problem.targets("train"), problem.n_outputs
        most = int(given["train"].max())  # places beyond the longest training sample are as its last
        counts = torch.bincount(given["train"] * n + known, minlength=(most + 1) * n).reshape(-1, n).double()
        shares = (counts.sum(0) + 1) / (counts.sum() + n)
        said = []
        for weight in _WEIGHTS if "val" in problem.raws else _WEIGHTS[:1]:
            nats = -((counts + weight * shares) / (counts.sum(1, keepdim=True) + weight)).log()
            places = {split: (given[split].clamp(max=most), problem.targets(split)) for split in evaluated(problem)}
            said.append({split: nats[place] for split, place in places.items()})
        return max(said, key=lambda each: problem.goodness("val", each["val"])) if "val" in problem.raws else said[0]


class AnyPlace(Counted):
    """The share of each id among all, wherever it stands."""

    name = "shares of values"


class ByPlace(Counted):
    """The share of each id at its place: what a mean picture tells."""

    name = "values by place"

    def contexts(self, ids: Tensor) -> Tensor:
        return torch.arange(len(ids) - 1)


class ByPrevious(Counted):
    """The share of each id behind the id before it."""

    name = "values by the last"

    def contexts(self, ids: Tensor) -> Tensor:
        return ids[:-1]
