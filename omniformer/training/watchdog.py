"""Ends a rank that stands still, with its stacks, so that a stuck run on several processes ends everywhere."""

import faulthandler
import sys
import threading
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer

from omniformer.core.ranges import Positive

_GRACE = 10.0  # seconds for the ranks that wait to give up first, and to say so
_REARM = 1.0  # seconds between two settings of the alarm: each starts a thread


class Watchdog(Callback):
    """Prints the stacks of a rank's threads and ends it when it has finished no batch for `seconds`.

    The ranks that wait for it give up after the same time, by the limit of the process group (`training/trainer.py`),
    so that nothing is left ten seconds later. The alarm is Python's `faulthandler`: a thread of C, which rings even
    where the interpreter is stuck. A run of one process has nobody who waits, and no alarm.

    Args:
        seconds: more than the longest batch, validation batch, test batch or checkpoint takes. Ten minutes, since
            the first step on a large machine may compile for long.

    Raises:
        ValueError: `seconds` is not positive.
    """

    def __init__(self, *, seconds: Positive = 600.0) -> None:
        if seconds <= 0:
            raise ValueError(f"seconds={seconds} is not positive; give the longest time that a batch may take")
        self.seconds = seconds
        self._armed: float | None = None
        self._done = threading.Event()
        self._alive = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Sets the alarm, where there are other ranks."""
        if trainer.world_size == 1 or self._armed is not None:
            return
        self._done.clear()
        self._armed = -_REARM
        self._beat()
        threading.Thread(target=self._say, args=(trainer.global_rank,), daemon=True, name="watchdog").start()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes the alarm back."""
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leaves the alarm set: an orderly end may hang too."""
        self._beat()

    def on_train_batch_start(self, *_: Any) -> None:
        """Alive."""
        self._beat()

    def on_train_batch_end(self, *_: Any) -> None:
        """Alive."""
        self._beat()

    def on_validation_batch_end(self, *_: Any) -> None:
        """Alive."""
        self._beat()

    def on_test_batch_end(self, *_: Any) -> None:
        """Alive."""
        self._beat()

    def on_save_checkpoint(self, *_: Any) -> None:
        """Alive."""
        self._beat()

    def _beat(self) -> None:
        self._alive = now = time.monotonic()
        if self._armed is not None and now - self._armed >= _REARM:
            self._armed = now
            faulthandler.dump_traceback_later(self.seconds + _GRACE, exit=True, file=sys.__stderr__ or sys.stderr)

    def _stop(self) -> None:
        if self._armed is not None:
            self._done.set()
            self._armed = None
            faulthandler.cancel_dump_traceback_later()

    def _say(self, rank: int) -> None:
        """Says whose stacks follow, while the interpreter still runs."""
        while not self._done.wait(max(self._alive + self.seconds + _GRACE - _REARM - time.monotonic(), 0.1)):
            if time.monotonic() - self._alive >= self.seconds + _GRACE - 2 * _REARM:
                print(
                    f"\nrank {rank} has finished no batch for {self.seconds:g} s (callbacks.watchdog.seconds); it ends "
                    "here, and its threads stand where these stacks say:",
                    file=sys.stderr,
                    flush=True,
                )
                return
