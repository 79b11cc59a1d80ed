"""A callback that does harm on one rank, at one moment of a real run."""

import os
import signal
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer

PLACES = {"train": "on_train_batch_start", "validation": "on_validation_batch_start", "test": "on_test_batch_start"}


class Sabotage(Callback):
    """Harms its rank when a batch begins.

    Args:
        place: train, validation or test.
        at: the rank.
        step: from this optimizer step on.
        what: raise, sleep (for ever), or the name of a signal.
        target: who gets the signal: self, parent (the launcher), or group (as a terminal sends Ctrl-C to all).
    """

    def __init__(self, *, place: str, at: int, what: str, step: int = 5, target: str = "self") -> None:
        self.rank, self.step, self.what, self.target = at, step, what, target
        self.done = False
        setattr(self, PLACES[place], self._harm)

    def _harm(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if self.done or trainer.global_rank != self.rank or trainer.global_step < self.step or trainer.sanity_checking:
            return
        self.done = True
        if self.what == "raise":
            raise ValueError("the disk of this rank has caught fire")
        if self.what == "sleep":
            time.sleep(3600)
        number = getattr(signal, self.what)
        if self.target == "group":
            os.killpg(os.getpgrp(), number)
        else:
            os.kill(os.getppid() if self.target == "parent" else os.getpid(), number)
