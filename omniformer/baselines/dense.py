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
        return linear(problem, {split: self.features(problem, split) for split in problem.raws})[0]


def linear(problem: Problem, rows: Mapping[Split, Tensor]) -> tuple[dict[Split, Tensor], float]:
    """What a linear model says of validation and test.

    Args:
        problem: has the targets.
        rows: float32 `[samples, features]` of each split, in the order of its targets.

    Returns:
        The raw outputs by split, `[samples, outputs]`, and the strength of the penalty that validates best; without
        validation 0.01.
    """

    def better(model: Linear) -> float:
        return problem.goodness("val", model(rows["val"]))

    kind: Any = "label" if problem.kind == "node" else problem.kind
    validates = "val" in rows
    model, strength = fit(
        rows["train"],
        problem.targets("train"),
        kind,
        problem.n_outputs,
        better=better if validates else lambda model: 0.0,
        strengths=STRENGTHS if validates else (1e-2,),
    )
    return {split: model(rows[split]) for split in evaluated(problem)}, strength
