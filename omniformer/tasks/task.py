"""The contract every task keeps."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar, cast, get_args

from torch import Tensor
from torchmetrics import MetricCollection

from omniformer.batch import Batch
from omniformer.core import checks
from omniformer.core.ranges import NotNegative
from omniformer.core.rules import Full, Rule
from omniformer.heads.head import Head
from omniformer.model import OmniFormer
from omniformer.tasks.rows import Row, of_texts

HeadT = TypeVar("HeadT", bound=Head)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """What a task made of one batch.

    Args:
        loss: mean loss over the `count` things that were predicted, with gradient; 0, with a gradient of zero, where
            there were none.
        count: how many they were, or what they weigh together: means of batches, weighted with it, give the mean of the
            whole split, however it was cut into batches.
        outputs: raw outputs of the head for those things.
        targets: what they should have been.
        written: texts that the model wrote for the samples, where it was asked to.
        expected: the texts that it should have written, in the same order.
    """

    loss: Tensor
    count: float
    outputs: Tensor
    targets: Tensor
    written: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()


Mode = Literal["min", "max"]
Stage = Literal["val", "test"]
_MODES: dict[bool | None, Mode | None] = {True: "max", False: "min", None: None}


@dataclass(frozen=True, slots=True)
class Watched:
    """The number by which validations are compared.

    Args:
        metric: its name.
        mode: which way it is better.
        why: where it comes from, if that is not a single task.
    """

    metric: str
    mode: Mode
    why: str = ""


class Task(ABC, Generic[HeadT]):
    """A loss and metrics for one head of a model.

    A task that asks more of its head than outputs says of which class it is: `class CTC(Task[CTCHead])`.

    A task is no module: the head belongs to the model and the metrics to whoever trains, so that several tasks share
    one model without sharing state.

    Args:
        head: reads the core's output.
        rule: who may attend to whom; everybody by default.
        loss_weight: factor of this task's loss in a mixture.

    Raises:
        ValueError: the head is of another class than the task learns with, or `loss_weight` is negative.
    """

    watched: Watched = Watched("loss", "min")
    """Its main metric: what the best checkpoint, early stopping, sweeps and the table of results follow by default."""

    targets: tuple[str, ...] = ()
    """The targets of samples that it learns from; without one of them there is nothing to learn."""

    token_targets: ClassVar[tuple[str, ...]] = ()
    """The same of tokens."""

    needs_answer: ClassVar[bool] = False
    """Whether samples must have an answer."""

    least_classes: ClassVar[int] = 1
    """With fewer classes there is nothing to learn."""

    takes_mixed: ClassVar[bool] = False
    """Whether it learns from samples that were mixed: from shares of classes, and from means of numbers."""

    gathers: ClassVar[bool] = False
    """Whether every rank computes the loss over the samples of all ranks, as one that compares them must."""

    calibrate: Callable[[Tensor, Tensor], str] | None = None
    """Sets in its head what validation tells and training cannot, once there are the weights that will be tested: takes
    the outputs and targets of all of validation, and says in words what it set. None where there is nothing to set."""

    head: HeadT
    head_type: ClassVar[type[Head]] = Head

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        said = [kind for base in cls.__dict__.get("__orig_bases__", ()) for kind in get_args(base)]
        cls.head_type = next((kind for kind in said if isinstance(kind, type)), cls.head_type)

    def __init__(self, *, head: HeadT, rule: Rule | None = None, loss_weight: NotNegative = 1.0) -> None:
        if not isinstance(head, self.head_type):
            raise ValueError(
                f"{type(self).__name__} learns with a {self.head_type.__name__}, received a {type(head).__name__}; "
                "choose another head, or the task that goes with it"
            )
        checks.not_negative(loss_weight=loss_weight)
        self.head = head
        self.rule = Full() if rule is None else rule
        self.loss_weight = loss_weight

    def head_of(self, model: OmniFormer, name: str) -> HeadT:
        """This task's head in a model, which may be a copy of the one that the task was made with."""
        return cast(HeadT, model.head(name))

    @classmethod
    def watched_for(cls, labels: Sequence[str]) -> Watched:
        """The main metric for data whose classes have these names."""
        return cls.watched

    @abstractmethod
    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        """Predicts and compares.

        What only helps to learn, such as label smoothing, is part of the loss in training mode alone, so that reported
        losses compare; what the core itself wants to lose goes into `losses`, never into the step's loss.

        Args:
            model: which has this task's head.
            batch: samples with this task's targets.
            name: the name of the head.
            losses: filled, when given, with the core's own losses, which training adds.

        Raises:
            ValueError: the batch lacks this task's targets; names them and a sample.
        """

    def count(self, batch: Batch) -> float:
        """How many things the loss of a batch is the mean of in training, or what they weigh: `step(...).count`, known
        before any model has read it.

        Training weighs batches by it, so that a step is the same however it is split into micro-batches and over ranks.
        Samples by default; a task that predicts other things counts those.
        """
        return len(batch)

    def measure(self, model: OmniFormer, batch: Batch, name: str, stage: Stage) -> Step:
        """A step of validation or test: `step`, and whatever else the metrics want to see, such as texts.

        Arguments as for `step`; `stage` tells validation, which is done often, from test.
        """
        return self.step(model, batch, name)

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """Fresh metrics, by the name under which they are reported; one that computes several numbers has `names`."""

    def reported(self, stage: Stage) -> dict[str, Mode | None]:
        """The numbers that a stage reports, by name, and which way each is better; None where a metric does not say.

        A task says less where it does not feed all of its metrics in every stage.
        """
        found: dict[str, Mode | None] = {}
        for name, metric in self.metrics().items():
            found |= dict.fromkeys(getattr(metric, "names", (name,)), _MODES[metric.higher_is_better])
        found[self.watched.metric], found["loss"] = self.watched.mode, "min"
        return found

    def update(self, metrics: MetricCollection, step: Step, batch: Batch) -> None:
        """Feeds one step to the metrics."""
        metrics.update(step.outputs.detach().float(), step.targets)

    def rows(self, head: HeadT, step: Step, batch: Batch, labels: Sequence[str]) -> Iterable[Row]:
        """What a step of validation or test says of each sample, for `predictions.jsonl`: the texts that were written.

        A task that says other things of single samples gives those; one that says none gives nothing.

        Args:
            head: of the model that made the step.
            step: what `measure` made of the batch.
            batch: the samples.
            labels: the names of the classes; empty where they have none.
        """
        return of_texts(batch, step.written, step.expected)

    def together(self, rows: Iterable[Row]) -> Iterable[Row]:
        """The rows of a whole split, where what is said of a sample depends on the others; the same rows by default."""
        return rows


def mean(each: Tensor, *read: Tensor) -> Tensor:
    """The mean of the losses of single things; of none it is 0, with a gradient of zero instead of NaN.

    Args:
        each: one loss a thing.
        read: what the losses would have come from, so that all weights behind it get their zero.

    Example:
        >>> import torch
        >>> x = torch.ones(3, requires_grad=True)
        >>> mean(x[:0], x).backward()
        >>> x.grad.tolist()
        [0.0, 0.0, 0.0]
    """
    if each.numel():
        return each.mean()
    return sum((values.sum() * 0 for values in read), start=each.sum())


def target(batch: Batch, name: str, *, per_token: bool = False) -> Tensor:
    """A target of the batch by name.

    Raises:
        ValueError: the batch has no such target.
    """
    targets = batch.token_targets if per_token else batch.targets
    if name not in targets:
        kind = "token target" if per_token else "target"
        raise ValueError(
            f"sample {batch.ids[0]!r} has no {kind} {name!r}, only {sorted(targets)}; "
            "this task and this data do not fit"
        )
    return targets[name]
