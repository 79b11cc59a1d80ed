"""Predicting numbers."""

from collections.abc import Iterable, Sequence
from typing import Literal

from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection

from omniformer.batch import Batch
from omniformer.core.ranges import NotNegative
from omniformer.core.rules import Rule
from omniformer.heads.regression import RegressionHead
from omniformer.model import OmniFormer
from omniformer.tasks.rows import Row, of_values
from omniformer.tasks.task import Step, Task, Watched, mean, target


class Regression(Task[RegressionHead]):
    """One or more numbers for each sample; reads the target `value`, in which NaN stands for a number that is not
    known: it counts neither in the loss nor in the metrics.

    The loss is in units of the spread that the head was told of, so that numbers far from zero are learned as fast as
    numbers near it, and of several numbers none drowns the others. The metrics are in the units of the targets.

    Args:
        head: gives values `[samples, n_outputs]`, and says in which units they are learned.
        rule: who may attend to whom.
        loss: "l1" (absolute error), "l2" (squared error) or "huber" (squared up to one unit of spread, then absolute).
        loss_weight: factor of this task's loss in a mixture.
    """

    watched = Watched("rmse", "min")
    targets = ("value",)
    takes_mixed = True

    def __init__(
        self,
        *,
        head: RegressionHead,
        rule: Rule | None = None,
        loss: Literal["l1", "l2", "huber"] = "l2",
        loss_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__(head=head, rule=rule, loss_weight=loss_weight)
        self.loss = {"l1": F.l1_loss, "l2": F.mse_loss, "huber": F.huber_loss}[loss]

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        predicted = model(batch, name, losses=losses)
        values = target(batch, "value").to(predicted.dtype)
        values = values.reshape(len(predicted), -1) if len(predicted) else predicted.detach()
        if values.shape != predicted.shape:
            raise ValueError(
                f"the head predicts {predicted.shape[1]} numbers, sample {batch.ids[0]!r} has {values.shape[1]}; "
                "set n_outputs of the head"
            )
        known = ~values.isnan()
        errors = ((predicted - values) / self.head_of(model, name).target_std)[known]
        each = self.loss(errors, errors.new_zeros(()).expand_as(errors), reduction="none")
        return Step(loss=mean(each, predicted), count=len(each), outputs=predicted, targets=values)

    def count(self, batch: Batch) -> int:
        return int((~target(batch, "value").isnan()).sum())

    def metrics(self) -> MetricCollection:
        return MetricCollection({"mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False)})

    def update(self, metrics: MetricCollection, step: Step, batch: Batch) -> None:
        known = ~step.targets.isnan()
        metrics.update(step.outputs.detach().float()[known], step.targets[known])

    def rows(self, head: RegressionHead, step: Step, batch: Batch, labels: Sequence[str]) -> Iterable[Row]:
        return of_values(batch, head.predict(step.outputs), step.targets)
