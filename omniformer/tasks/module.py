"""The module that Lightning trains: one model, any number of tasks."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from omniformer.batch import Batch, MicroBatch
from omniformer.core.routing import Routing
from omniformer.model import OmniFormer
from omniformer.parallel.tensors import clip, marks
from omniformer.tasks.causal_lm import Rate
from omniformer.tasks.gathering import gather, mean, n_ranks
from omniformer.tasks.task import Mode, Stage, Step, Task, Watched
from omniformer.tasks.whole_step import WholeStep, beside, read_by, touch

_KEY = "whole_step"


class MeanLoss(Rate):
    """The mean loss of a thing over a whole split, whatever the batches it came in."""

    def update(self, loss: Tensor, count: float) -> None:
        """Adds the mean loss of a batch over `count` things."""
        self.nats += loss.detach().double() * count
        self.things += count

    def compute(self) -> Tensor:
        """The mean so far."""
        return self.nats / self.things


class TrainingModule(LightningModule):
    """Trains one model on a mixture of tasks; a single task is a mixture of one.

    A batch is a mapping from the names of tasks to their batches; the loss is the sum of the tasks' losses, each times
    its weight, plus what the core itself wants to lose (the load balance of experts), which is also logged by itself as
    `train/<kind>`. A single task reports `val/accuracy`, several report `vision/val/accuracy`.

    A step is the same on any number of ranks and however many micro-batches accumulate (`WholeStep`): each task's loss
    is the mean over everything that it predicts in the step. Two things stay means over micro-batches: what the core
    wants to lose, and a comparison of all samples with each other (`Task.gathers`), which reaches over ranks but not
    over micro-batches. What no rank reads in a step is left as it is.

    `val/loss` and `test/loss` are means over everything that was counted in the whole split, so that they depend
    neither on the size of batches nor on the ranks, and contain the task's loss alone: no smoothing, no loss of the
    core. Of several tasks, `val/loss` is the mean of theirs, as is the metric that all of them watch, if they do.

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
        # What each adds to the loss, for whoever asks for its gradient before the backward pass.
        self.weighted: dict[str, Tensor] = {}
        # Norms of the gradients of the step at hand, by the marks of these, from whoever has computed one.
        self.gradient_norms: dict[tuple[tuple[int, int], ...], Tensor] = {}
        self._step: WholeStep | None = None  # the step at hand, and whether some of its micro-batches are to come
        self._half_done = False
        # Of the last validation or test: the numbers that it did not define, such as a curve without positives, and
        # whether some metric was given nothing at all.
        self.undefined: set[str] = set()
        self.unfed = False
        self._metrics = nn.ModuleDict(
            {
                stage: nn.ModuleDict(
                    {name: nn.ModuleDict({"loss": MeanLoss(), "of": task.metrics()}) for name, task in tasks.items()}
                )
                for stage in ("val", "test")
            }
        )

    def label(self, name: str, metric: str) -> str:
        """The name under which a task's number is reported."""
        return metric if len(self.tasks) == 1 else f"{name}/{metric}"

    @property
    def watched(self) -> Watched:
        """What validations are compared by: the metric of the task; of several, the mean of what all of them watch, or
        else their mean loss.
        """
        each = {name: task.watched for name, task in self.tasks.items()}
        first, *others = dict.fromkeys(each.values())
        if len(each) == 1:
            return Watched(f"val/{first.metric}", first.mode)
        if not others:
            return Watched(f"val/{first.metric}", first.mode, "the mean over the members, which all watch it")
        told = ", ".join(f"{name} {own.metric}" for name, own in each.items())
        return Watched("val/loss", "min", f"the mean over the members, which watch no metric together: {told}")

    def reported(self, stage: Stage) -> dict[str, Mode | None]:
        """The names of all numbers of a stage, and which way each is better; None where a metric does not say."""
        every = {name: task.reported(stage) for name, task in self.tasks.items()}
        found: dict[str, Mode | None]
        found = {self.label(name, f"{stage}/{key}"): mode for name in every for key, mode in every[name].items()}
        if len(self.tasks) > 1:
            found[f"{stage}/loss"], found[f"{stage}/{self._shared}"] = "min", self.watched.mode
        return found

    @property
    def _shared(self) -> str:
        return self.watched.metric.removeprefix("val/")

    def training_step(self, batches: dict[str, Batch], batch_idx: int) -> Tensor:
        """The weighted sum of the losses of the tasks that take part in this step."""
        total, told = torch.zeros((), device=self.device), {"train/loss": torch.zeros((), device=self.device)}
        self.member_losses, self.weighted = {}, {}
        whole, place, on_host = self._whole(batches)
        for name, batch in batches.items():
            task, losses = self.tasks[name], {}
            step = task.step(self.model, batch, name, losses)
            loss, more = task.loss_weight * step.loss, sum(losses.values(), start=torch.zeros_like(step.loss))
            if step.count != task.count(on_host[name]):
                raise ValueError(
                    f"{type(task).__name__}.step counts {step.count} things in a batch of which count() says "
                    f"{task.count(on_host[name])}; let count(batch) give what the loss of step is the mean of"
                )
            self.member_losses[name] = step.loss.detach()
            self.weighted[name] = loss * whole.share(name, on_host[name], place) + more / len(whole.counts)
            total = total + self.weighted[name]
            among = whole.share_of_ranks(name, on_host[name], place)
            told["train/loss"] = told["train/loss"] + (loss * among + more).detach()
            if len(self.tasks) > 1:
                told[f"{name}/train/loss"] = (step.loss * among).detach()
            told |= {self.label(name, f"train/{kind}"): value.detach() for kind, value in losses.items()}
        for key, value in mean(told).items():
            self.log(key, value, prog_bar=key == "train/loss", batch_size=1)
        if n_ranks() > 1:  # every rank gives every parameter a gradient, whatever it has to read
            total = total + touch(beside(self.model, read_by(batches))).to(total.device)
        return total * self.trainer.accumulate_grad_batches  # by which Lightning divides

    def on_after_backward(self) -> None:
        """Lets go of the graph of the step."""
        self.weighted = {}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leaves alone what no rank has read: on one rank it has no gradient, on several one of zero."""
        if n_ranks() > 1 and self._step is not None:
            for parameter in self._step.unread():
                parameter.grad = None

    def optimizer_step(self, *given: Any, **options: Any) -> None:
        """Steps, and tells the routings of experts, some of which even out their load then."""
        super().optimizer_step(*given, **options)
        for each in self.model.modules():
            if isinstance(each, Routing):
                each.stepped(lambda counts: gather(counts[None]).sum(0))

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips by the norm of all gradients, also of those that are divided between processes.

        Lightning does it where losses are scaled. Elsewhere it would refuse fused optimizers in bfloat16, which scales
        nothing.
        """
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            parameters = (each for group in optimizer.param_groups for each in group["params"])
            gradients = [each.grad for each in parameters if each.grad is not None]
            known = self.gradient_norms.get(marks(gradients))
            clip(gradients, float(gradient_clip_val), gradient_clip_algorithm, total=known)
        self.gradient_norms.clear()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps what a step that is half accumulated was weighed by."""
        if self._step is not None and self._half_done:
            checkpoint[_KEY] = self._step.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on with that step."""
        if _KEY in checkpoint:
            self._step = WholeStep(self.model, self.tasks, **checkpoint[_KEY])

    def _whole(self, batches: Mapping[str, Batch]) -> tuple[WholeStep, int, Mapping[str, Batch]]:
        """The step that a micro-batch is of, its place there, and the same batches on the host.

        A mapping that knows of no others is a step by itself.
        """
        if not isinstance(batches, MicroBatch):
            return WholeStep.of(self.model, self.tasks, [batches]), 0, batches
        place = batches.done + batches.place
        if place == 0:
            self._step = WholeStep.of(self.model, self.tasks, batches.step)
        assert self._step is not None  # a checkpoint in the middle of a step has it
        self._half_done = place + 1 < len(self._step.counts)
        return self._step, place, batches.on_host

    def validation_step(self, batches: dict[str, Batch], batch_idx: int) -> dict[str, Step]:
        """Feeds the validation metrics."""
        return self._measure("val", batches)

    def test_step(self, batches: dict[str, Batch], batch_idx: int) -> dict[str, Step]:
        """Feeds the test metrics."""
        return self._measure("test", batches)

    def predict_step(self, batches: dict[str, Batch], batch_idx: int) -> dict[str, Step]:
        """What a validation makes of the batches, without its metrics."""
        return {
            name: self.tasks[name].measure(self.model, batch, name, "val")
            for name, batch in batches.items()
            if len(batch)
        }

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

    def _measure(self, stage: Stage, batches: dict[str, Batch]) -> dict[str, Step]:
        steps = {}
        for name, batch in batches.items():
            if not len(batch):
                continue
            steps[name] = step = self.tasks[name].measure(self.model, batch, name, stage)
            metrics: Any = self._metrics[stage][name]  # pyright: ignore[reportIndexIssue]
            if step.count:
                metrics["loss"].update(step.loss, step.count)
            if step.count or step.written:  # a text may be written where no loss is counted
                self.tasks[name].update(metrics["of"], step, batch)
        return steps

    def _report(self, stage: str) -> None:
        """Logs what the metrics found; every member of the mixture that was fed, and the means over all of them."""
        means: dict[str, list[Tensor]] = {"loss": [], self._shared: []}
        self.undefined, self.unfed = set(), False
        for name in self.tasks:
            found = self._found(stage, name)
            for label, value in found.items():
                self._tell(self.label(name, f"{stage}/{label}"), value, prog_bar=label != "loss")
                if label in means:
                    means[label].append(value)
        for label, values in means.items():
            if len(self.tasks) > 1 and values:
                self._tell(f"{stage}/{label}", torch.stack(values).nanmean(), prog_bar=True)

    def _found(self, stage: str, name: str) -> dict[str, Tensor]:
        """The numbers of one task by name, NaN where the split does not define them."""
        metrics: Any = self._metrics[stage][name]  # pyright: ignore[reportIndexIssue]
        found: dict[str, Tensor] = {}
        for key, metric in {"loss": metrics["loss"], **dict(metrics["of"].items())}.items():
            # Computing talks to the other ranks, so all of them must agree on what has been fed.
            if self.trainer.strategy.reduce_boolean_decision(metric.update_called, all=False):
                value = metric.compute()
                # Most metrics are one number, some a number for each of several things: the loss may be among them,
                # where it compares all samples of the split and is no mean of those of batches.
                found |= value if isinstance(value, dict) else {key: value}
            else:
                self.unfed = True
        metrics["loss"].reset()
        metrics["of"].reset()
        return found

    def _tell(self, label: str, value: Tensor, *, prog_bar: bool) -> None:
        if value.isnan():
            self.undefined.add(label)
            # Lightning keeps what an earlier split said, and would report it as this one's.
            self.trainer.callback_metrics.pop(label, None)
        else:
            self.log(label, value.float(), prog_bar=prog_bar)
