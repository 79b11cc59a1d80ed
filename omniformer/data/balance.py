"""How often each class, and each answer to a question, is among samples."""

from collections import Counter
from collections.abc import Iterable

import torch

from omniformer.data.source import Raw


def class_counts(raws: Iterable[Raw], n_classes: int) -> list[int]:
    """How many samples, or tokens that count, are of each class.

    Args:
        raws: with the target `label`, of samples or of tokens, or with classes of words.
        n_classes: how many classes there are.

    Example:
        >>> raws = [Raw(id=str(n), contents={}, targets={"label": torch.tensor(n)}) for n in (0, 2, 2)]
        >>> class_counts(raws, 3)
        [1, 0, 2]
    """
    found: Counter[int] = Counter()
    for raw in raws:
        if "label" in raw.targets:
            found[int(raw.targets["label"])] += 1
        if "label" in raw.token_targets:
            labels = raw.token_targets["label"]
            found.update(labels[raw.token_targets.get("mask", torch.ones_like(labels)).bool()].tolist())
        for marks in raw.marks.values():
            found.update(label for *_, label in marks.words or ())
    return [found[number] for number in range(n_classes)]


def answer_counts(raws: Iterable[Raw]) -> list[tuple[int, int]]:
    """Of each question, how many samples answer it with no and with yes; those without an answer (NaN) do not count.

    Args:
        raws: with the target `labels`.

    Example:
        >>> raws = [Raw(id=str(n), contents={}, targets={"labels": torch.tensor([n, 1.0])}) for n in (0.0, 1.0, 0.0)]
        >>> answer_counts(raws)
        [(2, 1), (0, 3)]
    """
    rows = torch.stack([raw.targets["labels"] for raw in raws])
    return list(zip((rows == 0).sum(0).tolist(), (rows == 1).sum(0).tolist(), strict=True))
