"""The module that Lightning trains: one model, any number of tasks."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

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
        # What the model wrote in the last test, by task: rows of sample id, text, expected text.
        self.written: dict[str, list[tuple[str, str, str]]] = {}
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

    def on_test_start(self) -> None:
        """Forgets what an earlier test wrote."""
        self.written = {}

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

    def _measure(self, stage: Literal["val", "test"], batches: dict[str, Batch]) -> None:
        for name, batch in batches.items():
            if not len(batch):
                continue
            step = self.tasks[name].measure(self.model, batch, name, stage)
            if stage == "test" and step.written:
                rows = zip(batch.ids, step.written, step.expected, strict=True)
                self.written.setdefault(name, []).extend(rows)
            metrics: Any = self._metrics[stage][name]  # pyright: ignore[reportIndexIssue]
            if step.count:
                metrics["loss"].update(step.loss, step.count)
                self.tasks[name].update(metrics["of"], step, batch)

    def _report(self, stage: str) -> None:
        """Logs what the metrics found; every member of the mixture that was fed, and the mean loss of all."""
        losses = []
        for name in self.tasks:
            metrics: Any = self._metrics[stage][name]  # pyright: ignore[reportIndexIssue]
            for key, metric in {"loss": metrics["loss"], **dict(metrics["of"].items())}.items():
                # Computing talks to the other ranks, so all of them must agree on what has been fed.
                if not self.trainer.strategy.reduce_boolean_decision(metric.update_called, all=False):
                    continue
                # Most metrics are one number, some a number for each of several things.
                found = metric.compute()
                for label, value in (found if isinstance(found, dict) else {key: found}).items():
                    if label == "loss":
                        losses.append(value)
                    if not torch.isnan(value):
                        self.log(self.label(name, f"{stage}/{label}"), value.float(), prog_bar=label != "loss")
            metrics["loss"].reset()
            metrics["of"].reset()
        if len(self.tasks) > 1 and losses:
            self.log(f"{stage}/loss", torch.stack(losses).mean(), prog_bar=True)
