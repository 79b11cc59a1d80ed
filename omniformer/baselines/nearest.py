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
    known = problem.targets("train").numpy()
    fitting = [each for each in numbers if each <= len(known)] if "val" in rows else numbers[:1]
    models = [
        KNeighborsClassifier(n, algorithm="brute", weights="distance").fit(rows["train"].numpy(), known)
        for n in fitting
    ]
    if "val" not in rows:
        return {split: _shares(problem, models[0], rows[split]) for split in evaluated(problem)}, fitting[0]
    said = [_shares(problem, each, rows["val"]) for each in models]
    best = max(range(len(said)), key=lambda i: problem.goodness("val", said[i]))
    # The test is often the largest split, and only the best is asked for it.
    answers: dict[Split, Tensor] = {"val": said[best]}
    for split in evaluated(problem):
        if split != "val":
            answers[split] = _shares(problem, models[best], rows[split])
    return answers, fitting[best]


def _shares(problem: Problem, model: KNeighborsClassifier, rows: Tensor) -> Tensor:
    shares = torch.zeros(len(rows), problem.n_outputs)
    shares[:, torch.from_numpy(model.classes_)] = torch.from_numpy(model.predict_proba(rows.numpy())).float()
    return shares
