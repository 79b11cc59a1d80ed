"""What answers score that look at nothing, or at the question alone."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch


def of_classes(known: np.ndarray, asked: np.ndarray) -> Mapping[str, float]:
    """What the most frequent class of training scores.

    Args:
        known: the classes of training, as numbers.
        asked: those of the test.

    Example:
        >>> of_classes(np.array([1, 1, 0]), np.array([1, 0]))
        {'majority_accuracy': 0.5}
    """
    often = Counter(known.tolist()).most_common(1)[0][0]
    return {"majority_accuracy": float((asked == often).mean())}


def of_values(known: np.ndarray, asked: np.ndarray) -> Mapping[str, float]:
    """What the mean of the numbers of training scores.

    Shapes:
        known, asked float64 `[rows, numbers]`, NaN where there is none.
    """
    errors = (torch.from_numpy(asked) - torch.from_numpy(known).nanmean(0)).abs()
    return {"mean_mae": float(errors.nanmean()), "mean_rmse": float(errors.square().nanmean().sqrt())}


def of_questions(
    known: Sequence[Hashable], classes: np.ndarray, asked: Sequence[Hashable], wanted: np.ndarray
) -> Mapping[str, float]:
    """What the most frequent class of the same text in training scores, of texts that come again beside something else,
    as questions about pictures do; nothing where fewer than half of them do.

    Args:
        known: the texts of training.
        classes: their classes, as numbers.
        asked: the texts of the test; one that training does not know is not answered.
        wanted: their classes.

    Example:
        >>> of_questions(["red?", "red?", "red?", "what?"], np.array([1, 1, 0, 2]), ["red?", "why?"], np.array([1, 2]))
        {'question_alone_accuracy': 0.5}
    """
    counts: dict[Hashable, Counter[int]] = defaultdict(Counter)
    for text, kind in zip(known, classes.tolist(), strict=True):
        counts[text][kind] += 1
    if 2 * len(counts) > len(known):
        return {}
    often = {text: each.most_common(1)[0][0] for text, each in counts.items()}
    hits = sum(often.get(text) == kind for text, kind in zip(asked, wanted.tolist(), strict=True))
    return {"question_alone_accuracy": hits / len(asked)}
