"""The classes of the nearest training samples, weighed by their distance."""

from collections.abc import Mapping, Sequence

import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from omniformer.baselines.baseline import evaluated
from omniformer.baselines.problem import Problem
from omniformer.data.source import Split


def nearest(problem: Problem, rows: Mapping[Split, Tensor], numbers: Sequence[int]) -> tuple[dict[Split, Tensor], int]:
    """What the nearest training samples say of validation and test: shares of classes.

    Args:
        problem: of classes.
        rows: float32 `[samples, features]` of each split, in the order of its targets.
        numbers: how many neighbours may be asked; the one that validates best counts, the first without validation.

    Returns:
        The shares by split, `[samples, classes]`, and how many neighbours were asked.
    """
    known, said = problem.targets("train").numpy(), []
    for number in [each for each in numbers if each <= len(known)] if "val" in rows else numbers[:1]:
        model = KNeighborsClassifier(number, algorithm="brute", weights="distance").fit(rows["train"].numpy(), known)
        answers: dict[Split, Tensor] = {}
        for split in evaluated(problem):
            shares = torch.zeros(len(rows[split]), problem.n_outputs)
            found = torch.from_numpy(model.predict_proba(rows[split].numpy())).float()
            shares[:, torch.from_numpy(model.classes_)] = found
            answers[split] = shares
        said.append((answers, number))
    return max(said, key=lambda each: problem.goodness("val", each[0]["val"])) if "val" in rows else said[0]
