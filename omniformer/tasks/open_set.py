"""Telling classes apart where a sample may be of none of them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from omniformer.tasks.classification import Classification


class OpenSetClassification(Classification):
    """Classification with one class that means none of the others, measured on both sides of that line
    ([Larson et al. 2019](https://arxiv.org/abs/1909.02027), 4).

    `accuracy` counts all samples, `in_scope_accuracy` those of the other classes, `out_of_scope_recall` says how many
    of those of none were found. A model that never says "none" can have the first two high and the last at 0.

    Args:
        labels: the names of the classes, that of none included.
        out_of_scope: the name of the class that means none of the others.
        options: all else, as for `Classification`.

    Raises:
        ValueError: no class has that name.
    """

    def __init__(
        self,
        *,
        labels: Sequence[str],
        out_of_scope: str,
        **options: Any,
    ) -> None:
        super().__init__(labels=labels, **options)
        if out_of_scope not in labels:
            some = ", ".join(list(labels)[:8]) + (", ..." if len(labels) > 8 else "")
            raise ValueError(f"out_of_scope={out_of_scope!r} is none of the {len(labels)} classes: {some}")
        self.out_of_scope = list(labels).index(out_of_scope)

    def metrics(self) -> MetricCollection:
        return MetricCollection(
            {
                "accuracy": Hits(),
                "in_scope_accuracy": Hits(without=self.out_of_scope),
                "out_of_scope_recall": Hits(only=self.out_of_scope),
            },
            compute_groups=False,
        )


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
