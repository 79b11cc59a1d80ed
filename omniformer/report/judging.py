"""Scores of predictions: classes one by one, which is taken for which, and whether probabilities can be believed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

Pair = tuple[str, str]
"""The class that was wanted, and the one that was predicted."""
BINS = 10


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How well one class is told from the others.

    Args:
        name: of the class.
        precision: the share of what was taken for it that was it; 0 where nothing was.
        recall: the share of it that was found; 0 where there is none of it.
        f1: their harmonic mean.
        support: how many there are.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


def class_scores(pairs: Sequence[Pair]) -> list[ClassScore]:
    """Of each class that was wanted or predicted, by name, numbers by their size.

    Example:
        >>> class_scores([("a", "a"), ("a", "b"), ("b", "b")])[0]
        ClassScore(name='a', precision=1.0, recall=0.5, f1=0.6666666666666666, support=2)
    """
    wanted, found = Counter(each for each, _ in pairs), Counter(each for _, each in pairs)
    right = Counter(target for target, prediction in pairs if target == prediction)
    scores = []
    for name in names(pairs):
        precision, recall = _share(right[name], found[name]), _share(right[name], wanted[name])
        f1 = _share(2 * right[name], wanted[name] + found[name])
        scores.append(ClassScore(name, precision, recall, f1, wanted[name]))
    return scores


def names(pairs: Sequence[Pair]) -> list[str]:
    """The classes of some pairs in order, numbers by their size.

    Example:
        >>> names([("10", "9"), ("b", "a")])
        ['9', '10', 'a', 'b']
    """
    return sorted(
        {each for pair in pairs for each in pair},
        key=lambda each: (not each.isdigit(), len(each) * each.isdigit(), each),
    )


def confusion(pairs: Sequence[Pair], order: Sequence[str]) -> list[list[int]]:
    """How often each class (rows) was taken for each (columns).

    Example:
        >>> confusion([("a", "b"), ("b", "b")], ["a", "b"])
        [[0, 1], [0, 1]]
    """
    counts = Counter(pairs)
    return [[counts[target, prediction] for prediction in order] for target in order]


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions of similar confidence: how many, their mean confidence, the share that is right."""

    count: int
    confidence: float
    right: float


def calibration(said: Sequence[tuple[float, bool]]) -> tuple[list[Bin], float]:
    """Whether predictions are right as often as they say, in ten bins of equal width; and the expected calibration
    error ([Guo et al. 2017](https://arxiv.org/abs/1706.04599), 2): the mean distance of the two, weighted by counts.

    Args:
        said: the confidence of each prediction, from 0 to 1, and whether it was right.

    Example:
        >>> bins, error = calibration([(0.9, True), (0.9, False)])
        >>> bins[0], round(error, 3)
        (Bin(count=2, confidence=0.9, right=0.5), 0.4)
    """
    groups: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for confidence, right in said:
        groups[min(int(confidence * BINS), BINS - 1)].append((confidence, right))
    bins = [
        Bin(len(each), sum(sure for sure, _ in each) / len(each), sum(right for _, right in each) / len(each))
        for each in groups
        if each
    ]
    error = sum(each.count * abs(each.confidence - each.right) for each in bins) / max(len(said), 1)
    return bins, error


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
