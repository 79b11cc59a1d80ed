"""Predicting numbers."""

from typing import Literal

from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection

from omniformer.batch import Batch
from omniformer.core.rules import Rule
from omniformer.heads.head import Head
from omniformer.model import OmniFormer
from omniformer.tasks.task import Step, Task, target


class Regression(Task):
    """One or more numbers for each sample; reads the target `value`.

    Args:
        head: gives values `[samples, n_outputs]`.
        rule: who may attend to whom.
        loss: "l1" (absolute error), "l2" (squared error) or "huber".
        loss_weight: factor of this task's loss in a mixture.
    """

    def __init__(
        self,
        *,
        head: Head,
        rule: Rule | None = None,
        loss: Literal["l1", "l2", "huber"] = "l2",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(head=head, rule=rule, loss_weight=loss_weight)
        self.loss = {"l1": F.l1_loss, "l2": F.mse_loss, "huber": F.huber_loss}[loss]

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        predicted = model(batch, name, losses=losses)
        values = target(batch, "value").to(predicted.dtype).reshape(len(predicted), -1)
        if values.shape != predicted.shape:
            raise ValueError(
                f"the head predicts {predicted.shape[1]} numbers, sample {batch.ids[0]!r} has {values.shape[1]}; "
                "set n_outputs of the head"
            )
        return Step(loss=self.loss(predicted, values), count=len(values), outputs=predicted, targets=values)

    def metrics(self) -> MetricCollection:
        return MetricCollection({"mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False)})
