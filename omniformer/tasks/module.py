"""The module that Lightning trains: one model, any number of tasks."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import MeanMetric

from omniformer.batch import Batch
from omniformer.model import OmniFormer
from omniformer.tasks.task import Task


class TrainingModule(LightningModule):
    """Trains one model on a mixture of tasks; a single task is a mixture of one.

    A batch is a mapping from the names of tasks to their batches; the loss is the sum of the tasks' losses, each times
    its weight, plus what the core itself wants to lose (the load balance of experts). A single task reports
    `val/accuracy`, several report `vision/val/accuracy`.

    Args:
        model: embedders, core and heads.
        tasks: by the name of their head in the model.
        optimizer: makes the optimizer from a module, and through `scheduler(optimizer, total_steps)` its schedule; None
            for a module that only evaluates.
        total_steps: optimizer steps of the whole run, for the schedule.
    """

    def __init__(
        self,
        *,
        model: OmniFormer,
        tasks: Mapping[str, Task],
        optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None,
        total_steps: int | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.tasks = dict(tasks)
        self.optimizer = optimizer
        self.total_steps = total_steps
        # The losses of the step at hand, so that whoever finds a bad one can say whose it is.
        self.member_losses: dict[str, Tensor] = {}
        self._metrics = nn.ModuleDict(
            {
                stage: nn.ModuleDict(
                    {name: nn.ModuleDict({"loss": MeanMetric(), "of": task.metrics()}) for name, task in tasks.items()}
                )
                for stage in ("val", "test")
            }
        )

    def label(self, name: str, metric: str) -> str:
        """The name under which a task's number is reported."""
        return metric if len(self.tasks) == 1 else f"{name}/{metric}"

    def training_step(self, batches: dict[str, Batch], batch_idx: int) -> Tensor:
        """The weighted sum of the losses of the tasks that take part in this step."""
        total = torch.zeros((), device=self.device)
        self.member_losses = {}
        for name, batch in batches.items():
            task, losses = self.tasks[name], {}
            loss = task.step(self.model, batch, name, losses).loss
            self.member_losses[name] = loss.detach()
            total = total + task.loss_weight * loss + sum(losses.values())
            if len(self.tasks) > 1:
                self.log(f"{name}/train/loss", loss.detach(), batch_size=len(batch))
            for kind, value in losses.items():
                self.log(self.label(name, f"train/{kind}"), value.detach(), batch_size=len(batch))
        self.log("train/loss", total.detach(), prog_bar=True, batch_size=1)
        return total

    def validation_step(self, batches: dict[str, Batch], batch_idx: int) -> None:
        """Feeds the validation metrics."""
        self._measure("val", batches)

    def test_step(self, batches: dict[str, Batch], batch_idx: int) -> None:
        """Feeds the test metrics."""
        self._measure("test", batches)

    def on_validation_epoch_end(self) -> None:
        """Logs the validation metrics."""
        self._report("val")

    def on_test_epoch_end(self) -> None:
        """Logs the test metrics."""
        self._report("test")

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimizer, and its schedule by steps."""
        assert self.optimizer is not None, "a module without optimizer can only evaluate"
        optimizer = self.optimizer(self)
        schedule = self.optimizer.scheduler(optimizer, self.total_steps)  # pyright: ignore[reportFunctionMemberAccess]
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _measure(self, stage: str, batches: dict[str, Batch]) -> None:
        for name, batch in batches.items():
            if not len(batch):
                continue
            step = self.tasks[name].step(self.model, batch, name)
            metrics: Any = self._metrics[stage][name]  # pyright: ignore[reportIndexIssue]
            if step.count:
                metrics["loss"].update(step.loss, step.count)
                self.tasks[name].update(metrics["of"], step, batch)

    def _report(self, stage: str) -> None:
        """Logs what the metrics found; every member of the mixture that was fed, and the mean loss of all."""
        losses = []
        for name in self.tasks:
            metrics: Any = self._metrics[stage][name]  # pyright: ignore[reportIndexIssue]
            if metrics["loss"].update_count == 0 and self.trainer.world_size == 1:
                continue  # several ranks must all compute, since computing talks to the others
            values = {"loss": metrics["loss"].compute(), **metrics["of"].compute()}
            losses.append(values["loss"])
            for metric, value in values.items():
                if not torch.isnan(value):
                    self.log(self.label(name, f"{stage}/{metric}"), value.float(), prog_bar=metric != "loss")
            metrics["loss"].reset()
            metrics["of"].reset()
        if len(self.tasks) > 1 and losses:
            self.log(f"{stage}/loss", torch.stack(losses).mean(), prog_bar=True)
