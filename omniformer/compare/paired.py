"""Whether two models differ by more than chance on the same samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

_DRAWS, _AT_ONCE = 10_000, 100


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a test says.

    Args:
        test: its name.
        difference: the mean score of the second less that of the first.
        low: the lower end of its 95 % interval, by drawing samples with replacement.
        high: the upper one.
        p: how often a difference at least as large would come about by chance.
        n: samples.
    """

    test: str
    difference: float
    low: float
    high: float
    p: float
    n: int


def paired(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> Outcome:
    """Compares the scores that two models have on the same samples.

    Scores that are all 0 or 1, as of answers that are right or wrong: the exact test of
    [McNemar 1947](https://doi.org/10.1007/BF02295996). Others: differences with signs drawn at random, 10,000 times.

    Args:
        first: a score a sample, the larger the better.
        second: those of the other, in the same order.
        seed: of the draws.

    Raises:
        ValueError: there is no sample, or not the same number of them.

    Example:
        >>> outcome = paired([0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1])
        >>> outcome.test, outcome.p
        ('McNemar, exact', 0.0625)
    """
    one, other = np.asarray(first, float), np.asarray(second, float)
    if one.shape != other.shape or not len(one):
        raise ValueError(f"received {len(one)} and {len(other)} scores; give one of each model for the same samples")
    differences = other - one
    generator = np.random.default_rng(seed)
    drawn = [differences[generator.integers(len(one), size=len(one))].mean() for _ in range(_DRAWS // 10)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    if set(np.unique([one, other])) <= {0.0, 1.0}:
        test, p = "McNemar, exact", _mcnemar(differences)
    else:
        test, p = f"signs at random, {_DRAWS:,} draws", _permuted(differences, generator)
    return Outcome(test, float(differences.mean()), float(low), float(high), p, len(one))


def _mcnemar(differences: np.ndarray) -> float:
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def _permuted(differences: np.ndarray, generator: np.random.Generator) -> float:
    size = abs(differences.sum()) * (1 - 1e-12)  # the same sum in another order is as large
    extreme = 0
    for _ in range(_DRAWS // _AT_ONCE):
        signs = generator.integers(0, 2, size=(_AT_ONCE, len(differences)), dtype=np.int8) * 2 - 1
        extreme += int((abs(signs @ differences) >= size).sum())
    return (extreme + 1) / (_DRAWS + 1)
