"""Linear models of features that are the same for all methods of a kind: the strength is chosen on validation."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from omniformer.baselines.baseline import Baseline, evaluated
from omniformer.baselines.problem import Answers, Problem
from omniformer.data.source import Split
from omniformer.linear import STRENGTHS, Linear, fit


class DenseLinear(Baseline):
    """Logistic or ridge regression on features of fixed width (`omniformer/linear.py`)."""

    @abstractmethod
    def features(self, problem: Problem, split: Split) -> Tensor:
        """Float32 `[samples, features]` of a split, in the order of its targets."""

    def answers(self, problem: Problem) -> Mapping[Split, Answers]:
        rows = {split: self.features(problem, split) for split in problem.raws}

        def better(model: Linear) -> float:
            return problem.goodness("val", model(rows["val"]))

        kind: Any = "label" if problem.kind == "node" else problem.kind
        validates = "val" in rows
        model, _ = fit(
            rows["train"],
            problem.targets("train"),
            kind,
            problem.n_outputs,
            better=better if validates else lambda model: 0.0,
            strengths=STRENGTHS if validates else (1e-2,),
        )
        return {split: model(rows[split]) for split in evaluated(problem)}
