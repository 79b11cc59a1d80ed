"""Progress for people: a live bar on a terminal, plain lines in a file."""

import math
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, TextIO

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from omniformer.core.ranges import NotNegative
from omniformer.parallel import readers
from omniformer.training.memory import peak_memory
from omniformer.training.savepoint import is_last_step
from omniformer.training.throughput import count

_REFRESHES_PER_SECOND = 4
_ONE_LINE = 115  # columns of a terminal


class TrainingProgress(ProgressBar):
    """Shows epoch, batch, loss, learning rate, tokens per second, the time that the run still takes, its memory, and
    the last validation.

    On a terminal this is one live bar over all steps of the run. Elsewhere (a file, a notebook, a batch job) it is a
    plain line every `every_seconds` and after each validation, so that logs stay readable. The time left is that of the
    steps so far, their validations included, times the steps to come.

    Args:
        every_seconds: seconds between plain lines.

    Raises:
        ValueError: `every_seconds` is not positive.
    """

    def __init__(self, *, every_seconds: NotNegative = 10.0) -> None:
        super().__init__()
        if every_seconds <= 0:
            raise ValueError(f"every_seconds={every_seconds} is not positive")
        self.every_seconds = every_seconds
        self._enabled = True
        self._view: _Bar | _Lines | None = None
        self._tokens = 0
        self._since = 0.0
        self._rate = 0.0
        self._lr = float("nan")
        self._began = (0, 0.0)  # the step and the time of the start

    def disable(self) -> None:
        """Shows nothing: Lightning calls it on all ranks but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Shows again."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the view."""
        if self._enabled:
            self._view = _Bar() if sys.stderr.isatty() else _Lines(sys.stderr)
        self._tokens, self._since = 0, time.perf_counter()
        self._began = trainer.global_step, self._since

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Notes the rate of this step: at its end the schedule has moved on."""
        self._lr = max(group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts, and shows the state from time to time."""
        self._tokens += sum(tokens for _, tokens in count(batch).values()) * readers.place(trainer)[1]
        period = self.every_seconds if isinstance(self._view, _Lines) else 1 / _REFRESHES_PER_SECOND
        now = time.perf_counter()
        if self._view is not None and (now - self._since >= period or is_last_step(trainer)):
            self._rate = self._tokens / max(now - self._since, 1e-9)
            self._tokens, self._since = 0, now
            self._show(trainer, outputs)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says that this is a validation."""
        if self._view is not None and not trainer.sanity_checking:
            self._view.validating()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the validation's numbers."""
        if self._view is None or trainer.sanity_checking or trainer.state.fn != "fit":
            return
        found = {name: float(value) for name, value in trainer.callback_metrics.items() if "val" in name.split("/")}
        numbers = " ".join(f"{name} {value:.4g}" for name, value in found.items())
        self._view.validated(f"epoch {trainer.current_epoch + 1}, step {trainer.global_step}: {numbers}")
        # The time of the validation is not the time of the next training steps.
        self._tokens, self._since = 0, time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Closes the view."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Closes the view, so that the terminal is usable again."""
        self._close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Closes the view."""
        self._close()

    def _close(self) -> None:
        if self._view is not None:
            self._view.close()
            self._view = None

    def _show(self, trainer: Trainer, outputs: Any) -> None:
        assert self._view is not None
        done, total = trainer.fit_loop.batch_idx + 1, trainer.num_training_batches
        # Lightning divides the loss of each accumulated batch.
        loss = float(outputs["loss"]) * trainer.accumulate_grad_batches if outputs else float("nan")
        numbers = f"loss {loss:.4f} lr {self._lr:.2e} {self._rate:,.0f} tokens/s {self._left(trainer)}"
        last = trainer.max_epochs if trainer.max_epochs is not None and trainer.max_epochs > 0 else "?"
        where = f"epoch {trainer.current_epoch + 1}/{last} batch {done}/{total if total != math.inf else '?'}"
        self._view.show(where, trainer.global_step, trainer.estimated_stepping_batches, numbers)

    def _left(self, trainer: Trainer) -> str:
        """How long the run still takes, as far as its steps so far tell, and the most memory that it has had."""
        step, began = self._began
        done, total = trainer.global_step - step, trainer.estimated_stepping_batches
        memory = f"{peak_memory(trainer) / 2**30:.1f} GiB"
        if done < 1 or total == math.inf:
            return memory
        seconds = (time.perf_counter() - began) / done * max(total - trainer.global_step, 0)
        return f"{timedelta(seconds=round(seconds))} left {memory}"


class _Progress(Progress):
    """A bar with its numbers behind it, or below it where the terminal is too narrow for both."""

    def get_renderables(self) -> Iterator[RenderableType]:
        """What is drawn."""
        for task in self.tasks:
            bar, numbers = self.make_tasks_table([task]), Text(task.fields["numbers"])
            if self.console.width >= _ONE_LINE:
                yield Columns([bar, numbers])
            else:
                yield from (bar, numbers) if numbers else (bar,)


class _Bar:
    """One live line on a terminal, two on a narrow one."""

    def __init__(self) -> None:
        self._progress = _Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.percentage:.0f}%"),
            console=Console(stderr=True),
            refresh_per_second=_REFRESHES_PER_SECOND,
        )
        self._task: TaskID = self._progress.add_task("starting", total=None, numbers="")
        self._where = "starting"
        self._progress.start()

    def show(self, where: str, step: int, steps: float, numbers: str) -> None:
        self._where = where
        known = steps if steps != math.inf else None
        self._progress.update(self._task, description=where, completed=step, total=known, numbers=numbers)

    def validating(self) -> None:
        self._progress.update(self._task, description=f"{self._where}, validating")

    def validated(self, line: str) -> None:
        self._progress.update(self._task, description=self._where)
        self._progress.console.print(line, highlight=False)

    def close(self) -> None:
        self._progress.stop()


class _Lines:
    """Plain lines, each whole and at once."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def show(self, where: str, step: int, steps: float, numbers: str) -> None:
        self.validated(f"{where} {numbers}")

    def validating(self) -> None:
        """Nothing: a line is for what is known."""

    def validated(self, line: str) -> None:
        self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.flush()
