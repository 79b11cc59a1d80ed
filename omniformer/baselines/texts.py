"""Linear models of texts, on words and on letters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.sparse import vstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC
from torch import Tensor

from omniformer.baselines.baseline import Baseline, evaluated
from omniformer.baselines.problem import Answers, Problem
from omniformer.data.source import Split

_COSTS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of errors, beside which weights are held back


class LinearText(Baseline):
    """A linear support vector machine, or ridge regression of numbers, on weighed counts (tf-idf)."""

    counts: ClassVar[dict[str, Any]]

    def fits(self, problem: Problem) -> bool:
        return "text" in problem.modalities and problem.kind in ("label", "labels", "value")

    def answers(self, problem: Problem) -> Mapping[Split, Answers]:
        texts = {split: [text_of(each) for each in problem.contents(split, "text")] for split in problem.raws}
        counts = TfidfVectorizer(sublinear_tf=True, **self.counts).fit(texts["train"])
        rows = {split: counts.transform(each) for split, each in texts.items()}
        costs = _COSTS if "val" in rows else (1.0,)
        asked = evaluated(problem)
        joined, sizes = vstack([rows[split] for split in asked]), [rows[split].shape[0] for split in asked]
        found: list[dict[Split, Answers]] = [
            dict(zip(asked, outputs(problem, rows["train"], joined, cost).split(sizes), strict=True)) for cost in costs
        ]
        return max(found, key=lambda each: problem.goodness("val", each["val"])) if "val" in rows else found[0]


class Words(LinearText):
    """On words and pairs of words."""

    name = "linear on words"
    counts: ClassVar[dict[str, Any]] = {"ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"}


class Letters(LinearText):
    """On stretches of two to five characters within words."""

    name = "linear on letters"
    counts: ClassVar[dict[str, Any]] = {"ngram_range": (2, 5), "analyzer": "char_wb"}


def outputs(problem: Problem, known_rows: Any, asked: Any, cost: float) -> Tensor:
    """Scores `[samples, outputs]` by models of the training rows; a class without samples is never chosen.

    Args:
        problem: has the targets.
        known_rows: sparse features of training.
        asked: those of what is to be answered.
        cost: of errors.
    """
    known = problem.targets("train").numpy()
    if problem.kind == "label":
        return _classes(known, known_rows, asked, problem.n_outputs, cost)
    columns = []
    for column in known.T:
        answered = np.flatnonzero(~np.isnan(column))
        x, y = known_rows[answered], column[answered]
        if problem.kind == "value":
            columns.append(torch.from_numpy(Ridge(alpha=1 / cost).fit(x, y).predict(asked)).float())
        else:
            both = _classes(y.round().astype(int), x, asked, 2, cost)
            columns.append((both[:, 1] - both[:, 0]) / 2)
    return torch.stack(columns, 1)


def _classes(known: np.ndarray, x: Any, asked: Any, n_outputs: int, cost: float) -> Tensor:
    result = torch.full((asked.shape[0], n_outputs), -1e4)
    if len(classes := np.unique(known)) == 1:
        result[:, int(classes[0])] = 0.0
        return result
    model = LinearSVC(C=cost, random_state=0).fit(x, known)
    found = np.asarray(model.decision_function(asked), dtype=np.float32)
    found = np.stack([-found, found], 1) if found.ndim == 1 else found
    result[:, torch.from_numpy(model.classes_).long()] = torch.from_numpy(found)
    return result


def text_of(raw: Any) -> str:
    """A text, one of a file, or a pair as one."""
    if isinstance(raw, Path):
        return raw.read_text(encoding="utf-8", errors="replace")
    return " ".join(raw) if isinstance(raw, tuple | list) else str(raw)
