"""Names in texts: whole stretches of words of one kind, right only where both ends and the kind are."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

OUTSIDE = "O"
_BEGINS, _ENDS = ("B", "S", "U"), ("E", "L", "S", "U")
_PREFIXES = {*_BEGINS, *_ENDS, "I"}


class EntityF1(Metric):
    """F1 of entities: of 1, every one was found from its first word to its last, of its kind, and nothing else was
    ([Tjong Kim Sang and De Meulder 2003](https://aclanthology.org/W03-0419/), 3).

    NaN where there are no entities, neither found nor to be found.

    Args:
        labels: the names of the classes, as `entities` reads them.

    Example:
        >>> metric = EntityF1(["O", "B-PER", "I-PER"])
        >>> metric.update(torch.eye(3)[[1, 2, 0, 1]], torch.tensor([1, 2, 0, 0]), [4])
        >>> round(float(metric.compute()), 3)  # one of one is found, and one more
        0.667
    """

    full_state_update = False
    higher_is_better = True
    right: Tensor
    found: Tensor
    wanted: Tensor

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = tuple(labels)
        for name in ("right", "found", "wanted"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor, counts: Sequence[int]) -> None:
        """Notes the words of some texts.

        Args:
            preds: scores of the classes, `[words, n_classes]`.
            target: their classes, `[words]`.
            counts: how many words each text has.
        """
        start = 0
        found, wanted = preds.argmax(-1).tolist(), target.tolist()
        for n in counts:
            guessed, true = (
                entities([self.labels[label] for label in part[start : start + n]]) for part in (found, wanted)
            )
            start += n
            self.right += len(guessed & true)
            self.found += len(guessed)
            self.wanted += len(true)

    def compute(self) -> Tensor:
        """F1 of all texts so far."""
        return 2 * self.right / (self.found + self.wanted)


def entities(labels: Sequence[str]) -> set[tuple[str, int, int]]:
    """The entities of a text: kind, first word and the one behind the last.

    Labels are `O`, or a kind with a prefix: `B-` begins one, `I-` goes on with it, and begins one where there is none
    of its kind; `E-` and `L-` end one, `S-` and `U-` are one by themselves. Of kinds without prefixes a run is one.

    Args:
        labels: of the words in order.

    Example:
        >>> sorted(entities(["B-PER", "I-PER", "B-PER", "O", "I-LOC"]))
        [('LOC', 4, 5), ('PER', 0, 2), ('PER', 2, 3)]
    """
    found: set[tuple[str, int, int]] = set()
    kind, begin, closed = OUTSIDE, 0, True
    for place, label in enumerate([*labels, OUTSIDE]):
        prefix, new = _parts(label)
        goes_on = not closed and new == kind and prefix not in _BEGINS
        if not goes_on:
            if kind != OUTSIDE:
                found.add((kind, begin, place))
            kind, begin = new, place
        closed = new == OUTSIDE or prefix in _ENDS
        if closed and kind != OUTSIDE:
            found.add((kind, begin, place + 1))
            kind = OUTSIDE
    return found


def _parts(label: str) -> tuple[str, str]:
    prefix, dash, kind = label.partition("-")
    return (prefix, kind) if dash and prefix in _PREFIXES else ("I", label)
