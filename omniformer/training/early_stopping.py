"""The end of a run that gets no better."""

import logging
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping
from lightning.pytorch.utilities import rank_zero_info

from omniformer.core.ranges import Natural, NotNegative
from omniformer.training.watching import Follower, Mode

log = logging.getLogger(__name__)


class EarlyStopping(LightningEarlyStopping, Follower):
    """Ends the training when validations get no better; Lightning's, for metrics that may be undefined.

    A validation that does not define the metric counts neither as better nor as worse. Other arguments as for
    `lightning.pytorch.callbacks.EarlyStopping`.

    Args:
        monitor: the metric; None for that of the task.
        mode: which way it is better; None for what the metric itself says.
        patience: validations without a better one after which training ends.
        min_delta: how much better a validation must be to count.
    """

    def __init__(
        self,
        *,
        monitor: str | None = None,
        mode: Mode | None = None,
        patience: Natural = 3,
        min_delta: NotNegative = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(
            monitor=monitor,  # pyright: ignore[reportArgumentType]
            mode=mode or "min",
            patience=patience,
            min_delta=min_delta,
            strict=False,
            check_on_train_epoch_end=False,
            **options,
        )
        self.asked_mode = mode

    def follow(self, monitor: str, mode: Mode) -> None:
        """Watches a metric from now on; called before training."""
        sign = 1 if mode == "max" else -1
        self.monitor, self.mode = monitor, mode
        self.min_delta = sign * abs(self.min_delta)
        self.best_score = torch.tensor(-sign * torch.inf)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What was counted so far; the patience is that of the run that goes on."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compares, and says so where training ends."""
        if self._should_skip_check(trainer):
            return
        if self.monitor not in trainer.callback_metrics:
            log.warning(
                "the validation after step %d does not define %s: neither better nor worse for early stopping",
                trainer.global_step,
                self.monitor,
            )
            return
        super().on_validation_end(trainer, pl_module)
        if self.stopping_reason_message:
            rank_zero_info(f"training ends early, after step {trainer.global_step}: {self.stopping_reason_message}")
