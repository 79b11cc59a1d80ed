"""Telling classes apart: one of several, several at once, or one for each token."""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MultilabelAccuracy, MultilabelAUROC
from torchmetrics.utilities import dim_zero_cat

from omniformer.batch import Batch
from omniformer.core import checks
from omniformer.core.ranges import BelowOne, Count, NotNegative
from omniformer.core.rules import Rule
from omniformer.heads.head import Head
from omniformer.model import OmniFormer
from omniformer.tasks import weighting
from omniformer.tasks.entities import OUTSIDE, EntityF1
from omniformer.tasks.rows import Row, of_classes, of_questions, of_tokens
from omniformer.tasks.task import Step, Task, Watched, mean, target
from omniformer.tasks.weighting import balancing, positive

MISSING = -1


class Classification(Task):
    """One class of several for each sample; reads the target `label`.

    A label is a class, or, of samples that were mixed, the share of each class: the loss is the cross-entropy with
    these shares, and metrics count the class with the largest.

    Args:
        head: gives logits `[samples, n_classes]`.
        n_classes: number of classes.
        rule: who may attend to whom.
        label_smoothing: share of the target spread over all classes, in training only, so that reported losses compare
            ([Szegedy et al. 2015](https://arxiv.org/abs/1512.00567)).
        loss_weight: factor of this task's loss in a mixture.
        class_weights: how much a sample of each class counts in training, where the loss is the mean weighted so:
            `balanced` for as much as its class is rare among the training samples, or one number a class, or numbers by
            the names of classes. None counts all alike, as reported losses always do.
        labels: the names of the classes.
        class_counts: says how many training samples are of each class, for `balanced`.

    Raises:
        ValueError: `label_smoothing` is no share below 1, or weights do not fit the classes.
    """

    watched = Watched("accuracy", "max")
    targets = ("label",)
    least_classes = 2
    takes_mixed = True

    def __init__(
        self,
        *,
        head: Head,
        n_classes: Count,
        rule: Rule | None = None,
        label_smoothing: BelowOne = 0.0,
        loss_weight: NotNegative = 1.0,
        class_weights: Literal["balanced"] | list[NotNegative] | dict[str, NotNegative] | None = None,
        labels: Sequence[str] = (),
        class_counts: Callable[[], Sequence[int]] | None = None,
    ) -> None:
        super().__init__(head=head, rule=rule, loss_weight=loss_weight)
        checks.below_one(label_smoothing=label_smoothing)
        self.n_classes = n_classes
        self.label_smoothing = label_smoothing
        balanced = None if class_counts is None else lambda: balancing(class_counts())
        self.class_weights = weighting.class_weights(
            class_weights, labels=labels, n=n_classes, key="class_weights", balanced=balanced
        )

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        labels = target(batch, "label")
        return self._compare(model, model(batch, name, losses=losses), labels)

    def count(self, batch: Batch) -> float:
        return self._weighed(target(batch, "label"))

    def metrics(self) -> MetricCollection:
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(self.n_classes, average="micro"),
                "f1": MulticlassF1Score(self.n_classes, average="macro"),
            }
        )

    def rows(self, head: Head, step: Step, batch: Batch, labels: Sequence[str]) -> Iterable[Row]:
        return of_classes(batch, head.predict(step.outputs), step.targets, labels)

    def _compare(self, model: OmniFormer, logits: Tensor, labels: Tensor, mask: Tensor | None = None) -> Step:
        """The step of all rows of logits, or of those where the mask is True."""
        places = ... if mask is None else mask.nonzero(as_tuple=True)  # once: to learn how many waits for a device
        chosen, wanted = logits[places], labels[places]
        smoothing = self.label_smoothing if model.training else 0.0
        nats = F.cross_entropy(chosen.float(), wanted, label_smoothing=smoothing, reduction="none")
        soft = wanted.is_floating_point()
        classes = wanted.argmax(-1) if soft else wanted
        if self.class_weights is None or not model.training:
            return Step(loss=mean(nats, logits), count=len(wanted), outputs=chosen, targets=classes)
        count = self._weighed(wanted)
        weights = nats.new_tensor(self.class_weights)
        if soft:  # of each class the loss that it would have alone, times its share
            each = -chosen.float().log_softmax(-1)
            each = (1 - smoothing) * each + smoothing * each.mean(-1, keepdim=True)
            weighted = (each * wanted * weights).sum(-1)
        else:
            weighted = nats * weights[wanted]
        loss = mean(weighted, logits) * (len(wanted) / count if count else 0.0)
        return Step(loss=loss, count=count, outputs=chosen, targets=classes)

    def _weighed(self, labels: Tensor) -> float:
        """What samples of these classes count together: the same on every device, to the last bit."""
        if self.class_weights is None:
            return len(labels)
        if labels.is_floating_point():
            often = [math.fsum(shares) for shares in labels.T.tolist()]
        else:
            often = torch.bincount(labels.cpu(), minlength=self.n_classes).tolist()
        return math.fsum(n * weight for n, weight in zip(often, self.class_weights, strict=True))


class TokenClassification(Classification):
    """One class of several for each token, such as the nodes of a graph; reads the token target `label`, and counts the
    tokens where the token target `mask` is True.

    Where one of the classes is `O`, which words have that are no names, most words are of it: then `entity_f1`, of
    whole names, is the main metric.

    Arguments as for `Classification`; the head gives logits `[tokens, n_classes]`.
    """

    targets = ()
    token_targets = ("label", "mask")
    takes_mixed = False

    def __init__(self, *, head: Head, n_classes: Count, labels: Sequence[str] = (), **options: Any) -> None:
        super().__init__(head=head, n_classes=n_classes, labels=labels, **options)
        self.labels = tuple(labels)
        self.watched = self.watched_for(labels)

    @classmethod
    def watched_for(cls, labels: Sequence[str]) -> Watched:
        return Watched("entity_f1", "max") if OUTSIDE in labels else cls.watched

    def metrics(self) -> MetricCollection:
        found = super().metrics()
        if OUTSIDE in self.labels:
            found.add_metrics({"entity_f1": EntityF1(self.labels)})
        return found

    def update(self, metrics: MetricCollection, step: Step, batch: Batch) -> None:
        mask = target(batch, "mask", per_token=True)
        counts = [int(part.sum()) for part in mask.cpu().split(batch.lengths.tolist())]
        # Each metric takes what it knows of these.
        metrics.update(preds=step.outputs.detach().float(), target=step.targets, counts=counts)

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        labels, mask = target(batch, "label", per_token=True), target(batch, "mask", per_token=True)
        return self._compare(model, model(batch, name, losses=losses), labels, mask)

    def count(self, batch: Batch) -> float:
        return self._weighed(target(batch, "label", per_token=True)[target(batch, "mask", per_token=True)])

    def rows(self, head: Head, step: Step, batch: Batch, labels: Sequence[str]) -> Iterable[Row]:
        mask = target(batch, "mask", per_token=True)
        return of_tokens(batch, head.predict(step.outputs), step.targets, mask, labels)


class MultiLabelClassification(Task):
    """Any number of classes for each sample, each a yes or a no; reads the target `labels`, in which NaN stands for a
    question without an answer: it counts neither in the loss nor in the metrics.

    Args:
        head: gives logits `[samples, n_classes]`.
        n_classes: number of questions.
        rule: who may attend to whom.
        loss_weight: factor of this task's loss in a mixture.
        pos_weight: how much the loss of a yes to each question counts in training, where that of a no counts 1:
            `balanced` for as many as there are answers no for each yes among the training samples, or one number a
            question, or numbers by the names of questions. None counts both alike, as reported losses always do.
        labels: the names of the questions.
        answer_counts: says how many training samples answer each question with no and yes, for `balanced`.

    Raises:
        ValueError: weights do not fit the questions.
    """

    watched = Watched("auroc", "max")
    targets = ("labels",)
    takes_mixed = True

    def __init__(
        self,
        *,
        head: Head,
        n_classes: Count,
        rule: Rule | None = None,
        loss_weight: NotNegative = 1.0,
        pos_weight: Literal["balanced"] | list[NotNegative] | dict[str, NotNegative] | None = None,
        labels: Sequence[str] = (),
        answer_counts: Callable[[], Sequence[tuple[int, int]]] | None = None,
    ) -> None:
        super().__init__(head=head, rule=rule, loss_weight=loss_weight)
        self.n_classes = n_classes
        balanced = None if answer_counts is None else lambda: positive(answer_counts())
        self.pos_weight = weighting.class_weights(
            pos_weight, labels=labels, n=n_classes, key="pos_weight", balanced=balanced
        )

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        labels = target(batch, "labels")
        logits = model(batch, name, losses=losses)
        answered = ~labels.isnan()
        known = answered.nonzero(as_tuple=True)  # once: a device is waited for to learn how many there are
        weight = None
        if self.pos_weight is not None and model.training:
            weight = logits.new_tensor(self.pos_weight, dtype=torch.float32).expand_as(logits)[known]
        nats = F.binary_cross_entropy_with_logits(
            logits.float()[known], labels.float()[known], reduction="none", pos_weight=weight
        )
        # The metrics know an answer that is missing by this number.
        targets = labels.round().masked_fill(~answered, MISSING).long()
        return Step(loss=mean(nats, logits), count=len(nats), outputs=logits, targets=targets)

    def count(self, batch: Batch) -> int:
        return int((~target(batch, "labels").isnan()).sum())

    def metrics(self) -> MetricCollection:
        return MetricCollection(
            {
                "auroc": MeanAUROC(self.n_classes, average="none", ignore_index=MISSING),
                "accuracy": MultilabelAccuracy(self.n_classes, average="micro", ignore_index=MISSING),
            }
        )

    def update(self, metrics: MetricCollection, step: Step, batch: Batch) -> None:
        metrics.update(step.outputs.detach().float().sigmoid(), step.targets)

    def rows(self, head: Head, step: Step, batch: Batch, labels: Sequence[str]) -> Iterable[Row]:
        return of_questions(batch, head.predict(step.outputs), step.targets, labels)


class MeanAUROC(MultilabelAUROC):
    """The mean, over the questions that have both a yes and a no among the samples, of the area under the ROC curve
    ([Fawcett 2006](https://doi.org/10.1016/j.patrec.2005.10.010)); NaN where no question has.

    (The library counts a question without a curve as 0, which would make a small validation split look bad.)
    """

    def compute(self) -> Tensor:
        """The mean over all samples so far."""
        targets = dim_zero_cat(self.target)  # pyright: ignore[reportArgumentType]
        defined = (targets == 1).any(0) & (targets == 0).any(0)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No (positive|negative) samples")
            return super().compute()[defined].mean()
