"""Telling classes apart where a sample may be of none of them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric, MetricCollection

from omniformer.tasks.classification import Classification


class OpenSetClassification(Classification):
    """Classification with one class that means none of the others, measured on both sides of that line
    ([Larson et al. 2019](https://arxiv.org/abs/1909.02027), 4).

    `accuracy` counts all samples, `in_scope_accuracy` those of the other classes, `out_of_scope_recall` says how many
    of those of none were found. A model that never says "none" can have the first two high and the last at 0: examples
    of none are few and unlike each other. So the offset of that class is chosen on validation once the weights stand.

    Args:
        labels: the names of the classes, that of none included.
        out_of_scope: the name of the class that means none of the others.
        calibrate: whether, after training, the head's offset of that class becomes the one of the highest accuracy on
            validation; other weights stay.
        options: all else, as for `Classification`.

    Raises:
        ValueError: no class has that name.
    """

    def __init__(
        self,
        *,
        labels: Sequence[str],
        out_of_scope: str,
        calibrate: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(labels=labels, **options)
        if out_of_scope not in labels:
            some = ", ".join(list(labels)[:8]) + (", ..." if len(labels) > 8 else "")
            raise ValueError(f"out_of_scope={out_of_scope!r} is none of the {len(labels)} classes: {some}")
        self.out_of_scope = list(labels).index(out_of_scope)
        self.calibrate = self._set_offset if calibrate else None
        self.name_of_none = out_of_scope

    def _set_offset(self, outputs: Tensor, targets: Tensor) -> str:
        """Sets the offset of the class that means none to the best one, and says so."""
        last = self.head.last_map
        none = targets == self.out_of_scope
        if last is None or last.bias is None or not last.bias.requires_grad or not bool(none.any()):
            why = "its head has no offsets that learn" if none.any() else "no sample of validation is of it"
            return f"the offset of {self.name_of_none!r} stays as it is: {why}"
        shift, before, after = best_shift(outputs, targets, self.out_of_scope)
        with torch.no_grad():
            last.bias[self.out_of_scope] += shift
        return (
            f"the offset of {self.name_of_none!r} is changed by {shift:+.3f}, for an accuracy on validation of "
            f"{after:.4f} in the place of {before:.4f}"
        )

    def metrics(self) -> MetricCollection:
        return MetricCollection(
            {
                "accuracy": Hits(),
                "in_scope_accuracy": Hits(without=self.out_of_scope),
                "out_of_scope_recall": Hits(only=self.out_of_scope),
            },
            compute_groups=False,
        )


def best_shift(logits: Tensor, labels: Tensor, of: int) -> tuple[float, float, float]:
    """What added to the logit of one class makes most samples right, and the accuracy before and after; of several gaps
    between samples that do, the middle of the one nearest to zero.

    Shapes:
        logits `[samples, n_classes]`, labels int64 `[samples]`.

    Example:
        >>> shift, before, after = best_shift(torch.tensor([[3.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]), of=1)
        >>> shift, before, after
        (2.0, 0.5, 1.0)
    """
    logits = logits.double()
    others = logits.index_fill(1, torch.tensor([of], device=logits.device), -torch.inf)
    best, said = others.max(-1)
    margins, order = (best - logits[:, of]).sort()  # a larger shift than a sample's margin makes it one of this class
    gained = (labels == of).double()[order]
    lost = ((said == labels) & (labels != of)).double()[order]
    right = lost.sum() + F.pad((gained - lost).cumsum(0), (1, 0))  # of a shift above so many margins
    right[1:-1][margins[1:] == margins[:-1]] = -1  # no shift lies between equals
    ends = torch.cat([margins[:1] - 1, margins, margins[-1:] + 1])
    shifts = (ends[1:] + ends[:-1]) / 2
    shifts = torch.where((ends[:-1] < 0) & (ends[1:] > 0), 0.0, shifts)
    candidates = (right == right.max()).nonzero()[:, 0]
    chosen = candidates[shifts[candidates].abs().argmin()]
    before = float((logits.argmax(-1) == labels).double().mean())
    return float(shifts[chosen]), before, float(right[chosen] / len(labels))


class Hits(Metric):
    """The share of samples whose class is the most probable one; NaN where there are none.

    Args:
        only: count the samples of this class alone.
        without: leave the samples of this class out.

    Example:
        >>> metric = Hits(without=0)
        >>> metric.update(torch.eye(3), torch.tensor([0, 1, 1]))
        >>> float(metric.compute())
        0.5
    """

    full_state_update = False
    higher_is_better = True
    hits: Tensor
    samples: Tensor

    def __init__(self, *, only: int | None = None, without: int | None = None) -> None:
        super().__init__()
        self.only, self.without = only, without
        self.add_state("hits", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("samples", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Counts the samples of a batch."""
        counted = torch.ones_like(labels, dtype=torch.bool)
        if self.only is not None:
            counted &= labels == self.only
        if self.without is not None:
            counted &= labels != self.without
        self.hits += (logits.argmax(-1) == labels)[counted].sum()
        self.samples += counted.sum()

    def compute(self) -> Tensor:
        """The share so far."""
        return self.hits.float() / self.samples  # 0 / 0 is NaN
