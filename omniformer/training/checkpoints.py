"""The best checkpoint by some metric, and regular ones to go on from after a crash."""

import logging
import math
import time
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from omniformer.core.ranges import Count, NotNegative
from omniformer.training.savepoint import SavePoint, is_last_step, is_trial, save
from omniformer.training.watching import Follower, Mode, no_metric

log = logging.getLogger(__name__)


class BestCheckpoint(ModelCheckpoint, Follower):
    """Keeps the best checkpoint by a metric of the validation; Lightning's, for metrics that may be undefined.

    A validation that does not define the metric, such as an area under a curve without positives, is not the best one,
    and training goes on. After `from_start` the weights that a run begins with are validated too, before its first
    step. Other arguments as for `lightning.pytorch.callbacks.ModelCheckpoint`.

    Args:
        monitor: the metric; None for that of the task.
        mode: which way it is better; None for what the metric itself says.

    Raises:
        ConfigError: during training: the module reports no such metric; names those that there are.
    """

    def __init__(self, *, monitor: str | None = None, mode: Mode | None = None, **options: Any) -> None:
        super().__init__(monitor=monitor, mode=mode or "min", **options)
        self.asked_mode = mode
        self._from_start = False
        self._start: Tensor | None = None  # the metric before the first step

    def follow(self, monitor: str, mode: Mode) -> None:
        """Watches a metric from now on; called before training."""
        self.monitor, self.mode = monitor, mode
        self.kth_value = torch.tensor(-torch.inf if mode == "max" else torch.inf)

    def from_start(self, trainer: Trainer) -> None:
        """Has the weights that a run begins with validated whole, so that it ends no worse; called before training."""
        self._from_start = not is_trial(trainer)
        if self._from_start:
            trainer.num_sanity_val_steps = math.inf

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves; before the first step it only keeps the metric, since Lightning is not yet where a run goes on."""
        super().on_validation_end(trainer, pl_module)
        if trainer.sanity_checking and self._from_start:
            self._start = trainer.callback_metrics.get(self.monitor or "")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the weights that the run begins with, as the best so far."""
        super().on_train_start(trainer, pl_module)
        start = self._start
        if self.monitor is None or start is None or trainer.global_step or not (self._from_start and _defined(start)):
            return
        rank_zero_info(f"before the first step: {self.monitor} {float(start):.4f}")
        super()._save_topk_checkpoint(trainer, self._monitor_candidates(trainer) | {self.monitor: start})

    def state_dict(self) -> dict[str, Any]:
        """What is the best so far, and what the run began with."""
        return super().state_dict() | ({} if self._start is None else {"start": self._start})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The opposite."""
        super().load_state_dict(state_dict)
        self._start = state_dict.get("start")

    def _save_topk_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        """Saves if the metric is there."""
        if self.monitor is None or _defined(monitor_candidates.get(self.monitor)):
            super()._save_topk_checkpoint(trainer, monitor_candidates)
            return
        module = trainer.lightning_module
        undefined = getattr(module, "undefined", set())
        if (
            self.monitor not in monitor_candidates
            and self.monitor not in undefined
            and not getattr(module, "unfed", False)
        ):
            known = {name for name in monitor_candidates if name not in ("epoch", "step")} | undefined
            raise no_metric("callbacks.best", self.monitor, known)
        log.warning(
            "the validation after step %d does not define %s, so it is not the best one",
            trainer.global_step,
            self.monitor,
        )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says so where no validation has defined the metric."""
        super().on_fit_end(trainer, pl_module)
        if self.monitor is not None and not self.best_model_path and not is_trial(trainer) and trainer.is_global_zero:
            log.warning("no validation has defined %s: the last weights are taken for the best", self.monitor)
        if self._start is not None and self.best_model_score == self._start and trainer.is_global_zero:
            log.warning(
                "no validation has a better %s than %.4f, that before the first step, whose weights are taken for the "
                "best: lower optim.lr, or train longer",
                *(self.monitor, float(self._start)),
            )


def _defined(value: Tensor | None) -> bool:
    return value is not None and bool(value.isfinite())


class RecentCheckpoint(SavePoint):
    """Keeps the most recent checkpoints, saved by the clock and after the last step.

    Beside it a `ModelCheckpoint` may keep the best one by some metric. This one saves only where a resume is exact, and
    by time, so that neither a run of a minute nor one of a month needs another setting.

    Args:
        dirpath: the folder; files are called `step-<optimizer steps>.ckpt`.
        every_minutes: how much work a crash may cost.
        keep: how many to keep. At least 2, so that a damaged one has a predecessor.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, *, dirpath: str, every_minutes: NotNegative = 2.0, keep: Count = 2) -> None:
        if every_minutes < 0:
            raise ValueError(f"every_minutes={every_minutes} is negative; use 0 to save at every step")
        if keep < 2:
            raise ValueError(f"keep={keep} leaves nothing to fall back on when a file is damaged; use 2 or more")
        self.folder = Path(dirpath)
        self.every_minutes = every_minutes
        self.keep = keep
        self._saved_at = 0.0
        self._saved_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._saved_at = time.monotonic()
        self._saved_step = trainer.global_step

    def reached(self, trainer: Trainer, *, before_validation: bool) -> None:
        """Saves when it is time."""
        due = time.monotonic() - self._saved_at >= 60 * self.every_minutes or is_last_step(trainer)
        # Clocks differ between ranks; the first one's counts.
        if trainer.strategy.broadcast(due):
            self._save(trainer, before_validation=before_validation)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: what is kept can be seen in the folder."""
        return {}

    def _save(self, trainer: Trainer, *, before_validation: bool) -> None:
        if is_trial(trainer) or trainer.global_step == self._saved_step:
            return
        path = self.folder / f"step-{trainer.global_step:08d}.ckpt"
        save(trainer, path, before_validation=before_validation)
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step
        if trainer.is_global_zero:
            others = [other for other in self.folder.glob("step-*.ckpt") if other != path]
            newest_first = sorted(others, key=lambda other: other.stat().st_mtime_ns, reverse=True)
            for old in newest_first[self.keep - 1 :]:
                trainer.strategy.remove_checkpoint(old)
