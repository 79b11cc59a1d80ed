"""Telling classes apart: one of several, several at once, or one for each token."""

import warnings

from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MultilabelAccuracy, MultilabelAUROC
from torchmetrics.utilities import dim_zero_cat

from omniformer.batch import Batch
from omniformer.core.ranges import BelowOne, Count, NotNegative
from omniformer.core.rules import Rule
from omniformer.heads.head import Head
from omniformer.model import OmniFormer
from omniformer.tasks.task import Step, Task, Watched, mean, target

MISSING = -1


class Classification(Task):
    """One class of several for each sample; reads the target `label`.

    Args:
        head: gives logits `[samples, n_classes]`.
        n_classes: number of classes.
        rule: who may attend to whom.
        label_smoothing: share of the target spread over all classes, in training only, so that reported losses compare
            ([Szegedy et al. 2015](https://arxiv.org/abs/1512.00567)).
        loss_weight: factor of this task's loss in a mixture.
    """

    watched = Watched("accuracy", "max")
    targets = ("label",)
    least_classes = 2

    def __init__(
        self,
        *,
        head: Head,
        n_classes: Count,
        rule: Rule | None = None,
        label_smoothing: BelowOne = 0.0,
        loss_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__(head=head, rule=rule, loss_weight=loss_weight)
        self.n_classes = n_classes
        self.label_smoothing = label_smoothing

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        labels = target(batch, "label")
        return self._compare(model, model(batch, name, losses=losses), labels)

    def metrics(self) -> MetricCollection:
        return MetricCollection(
            {
                "accuracy": MulticlassAccuracy(self.n_classes, average="micro"),
                "f1": MulticlassF1Score(self.n_classes, average="macro"),
            }
        )

    def _compare(self, model: OmniFormer, logits: Tensor, labels: Tensor, mask: Tensor | None = None) -> Step:
        """The step of all rows of logits, or of those where the mask is True."""
        chosen, wanted = (logits, labels) if mask is None else (logits[mask], labels[mask])
        smoothing = self.label_smoothing if model.training else 0.0
        nats = F.cross_entropy(chosen.float(), wanted, label_smoothing=smoothing, reduction="none")
        return Step(loss=mean(nats, logits), count=len(wanted), outputs=chosen, targets=wanted)


class TokenClassification(Classification):
    """One class of several for each token, such as the nodes of a graph; reads the token target `label`, and counts the
    tokens where the token target `mask` is True.

    Arguments as for `Classification`; the head gives logits `[tokens, n_classes]`.
    """

    targets = ()
    token_targets = ("label", "mask")

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        labels, mask = target(batch, "label", per_token=True), target(batch, "mask", per_token=True)
        return self._compare(model, model(batch, name, losses=losses), labels, mask)

    def count(self, batch: Batch) -> int:
        return int(target(batch, "mask", per_token=True).sum())


class MultiLabelClassification(Task):
    """Any number of classes for each sample, each a yes or a no; reads the target `labels`, in which NaN stands for a
    question without an answer: it counts neither in the loss nor in the metrics.

    Args:
        head: gives logits `[samples, n_classes]`.
        n_classes: number of questions.
        rule: who may attend to whom.
        loss_weight: factor of this task's loss in a mixture.
    """

    watched = Watched("auroc", "max")
    targets = ("labels",)

    def __init__(
        self, *, head: Head, n_classes: Count, rule: Rule | None = None, loss_weight: NotNegative = 1.0
    ) -> None:
        super().__init__(head=head, rule=rule, loss_weight=loss_weight)
        self.n_classes = n_classes

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        labels = target(batch, "labels")
        logits = model(batch, name, losses=losses)
        known = ~labels.isnan()
        nats = F.binary_cross_entropy_with_logits(logits.float()[known], labels.float()[known], reduction="none")
        # The metrics know an answer that is missing by this number.
        targets = labels.masked_fill(~known, MISSING).long()
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
