"""The contract of a simple method, and running all that fit."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch

from omniformer.baselines.problem import Answers, Problem
from omniformer.data.source import Split


class Baseline(ABC):
    """A method that people would try before a transformer; whatever it chooses, it chooses on validation."""

    name: ClassVar[str]
    most: ClassVar[int | None] = None
    """Training samples beyond which it takes too long; it learns from the first so many of a random order."""

    @abstractmethod
    def fits(self, problem: Problem) -> bool:
        """Whether it can answer."""

    @abstractmethod
    def answers(self, problem: Problem) -> Mapping[Split, Answers]:
        """What it says of validation and test, where there are such splits, after learning from training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one method reached.

    Args:
        name: of the method.
        seconds: that learning and answering took.
        samples: that it learned from.
        scores: by split, then by metric.
    """

    name: str
    seconds: float
    samples: int
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def cut(problem: Problem, most: int | None, seed: int) -> Problem:
    """The problem with no more training samples than that."""
    raws = problem.raws["train"]
    if most is None or len(raws) <= most:
        return problem
    order = torch.randperm(len(raws), generator=torch.Generator().manual_seed(seed))[:most].tolist()
    return replace(problem, raws={**problem.raws, "train": [raws[i] for i in order]})


def evaluated(problem: Problem) -> list[Split]:
    """The splits that are answered, of those that there are."""
    return [split for split in problem.raws if split != "train"]
