"""Stops a run at the next safe moment when the system or a person asks for it, with a checkpoint to go on from."""

import logging
import math
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

from lightning import LightningModule, Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from omniformer.training.agreement import Agreement
from omniformer.training.checkpoint_io import latest_checkpoint
from omniformer.training.savepoint import SavePoint, finish, is_trial, save

log = logging.getLogger(__name__)
_ECHO = 2.0  # seconds within which a second SIGINT is the launcher's copy of the first


class Stopped(SystemExit):
    """The run was stopped by a signal; ends the process with the usual status 128 + signal number.

    Args:
        signum: the signal.
        checkpoint: where to go on from; None when the run was aborted without saving.
        code: the exit status.
    """

    def __init__(self, signum: int, checkpoint: Path | None, *, code: int | None = None) -> None:
        super().__init__(128 + signum if code is None else code)
        self.signum = signum
        self.checkpoint = checkpoint


class Stop(SavePoint):
    """Turns SIGINT (Ctrl-C), SIGTERM and SIGUSR1 into a checkpoint and an orderly end on all ranks.

    A signal only raises a flag. After each optimizer step the ranks ask each other for it, so that all of them save and
    stop after the same step, whichever was told. A second Ctrl-C aborts at once. Under SLURM, SIGUSR1 (ask for it with
    `--signal=USR1@60`) also puts the job back into the queue, where `resume=auto` on its command line goes on.

    A validation is interrupted too, after any of its batches, and done again from its beginning after the resume; all
    ranks have equally many. In a test, or where nothing but a validation is done, there is nothing to save: the newest
    checkpoint is the one to go on from.

    Args:
        dirpath: the folder that gets `last.ckpt`; None where nothing is trained.
    """

    _agreement: Agreement

    def __init__(self, *, dirpath: str | None) -> None:
        self.path = None if dirpath is None else Path(dirpath) / "last.ckpt"
        self._signum: int | None = None
        self._heard = -math.inf
        self._agreed = False
        self._active = False
        self._originals: dict[int, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes the signals over from Lightning."""
        self._agreement = Agreement(trainer)
        self._signum, self._agreed = None, False
        if threading.current_thread() is not threading.main_thread():
            warnings.warn("training runs outside the main thread, so signals cannot be handled", stacklevel=2)
            return
        # Lightning's own SIGTERM handler talks to the other ranks from inside the handler, which can hang; it registers
        # this attribute after `setup`.
        trainer._signal_connector._sigterm_notifier_fn = self._on_signal  # pyright: ignore[reportAttributeAccessIssue]
        self._active = True
        for signum in _handled():
            self._originals.setdefault(signum, signal.getsignal(signum))
            signal.signal(signum, self._on_signal)

    def reached(self, trainer: Trainer, *, before_validation: bool) -> None:
        """Stops here if a rank has seen a signal."""
        self._agreed = self._agreed or self._agreement.any(self._signum is not None)
        if self._agreed:
            self._stop(trainer, before_validation=before_validation)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Interrupts a validation."""
        if trainer.state.fn != "fit":
            self._measured(trainer)
        elif not trainer.sanity_checking:
            self.reached(trainer, before_validation=True)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Interrupts a test."""
        self._measured(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A signal that came after the last step: the training is complete, what would follow it is not begun."""
        self.reached(trainer, before_validation=False)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Gives the signals back."""
        self._release()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Gives the signals back."""
        self._release()

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if not self._active:
            _as_before(signum, frame, self._originals.get(signum))
        elif signum == signal.SIGINT and self._signum == signal.SIGINT:
            # torchrun passes on the Ctrl-C that the terminal has sent to every process already.
            if "TORCHELASTIC_RUN_ID" not in os.environ or time.monotonic() - self._heard > _ECHO:
                raise Stopped(signum, None)
        elif signum != self._signum:
            self._signum, self._heard = signum, time.monotonic()
            again = "; press Ctrl-C again to abort without saving" if signum == signal.SIGINT else ""
            # A handler may interrupt a print, so it must not print itself.
            os.write(2, f"\n{signal.Signals(signum).name}: stopping after this step{again}\n".encode())

    def _measured(self, trainer: Trainer) -> None:
        """Ends a test, or a validation that belongs to no training, if a rank has seen a signal."""
        if self._agreement.any(self._signum is not None):
            newest = None if self.path is None else _newest(self.path.parent)
            self._end(trainer, newest, f"in the {'test' if trainer.state.fn == 'test' else 'validation'}")

    def _stop(self, trainer: Trainer, *, before_validation: bool) -> None:
        if is_trial(trainer) or self.path is None:
            raise Stopped(self._signum or signal.SIGTERM, None)
        save(trainer, self.path, before_validation=before_validation)
        finish(trainer)  # a checkpoint that is named is there
        if not before_validation and trainer.training:
            # Lightning logs a step after this hook, which is not left in the usual way.
            trainer._logger_connector.update_train_step_metrics()
        self._end(trainer, self.path, f"after step {trainer.global_step}")

    def _end(self, trainer: Trainer, checkpoint: Path | None, where: str) -> None:
        """Says where the run stands and how to go on, and ends it on all ranks."""
        seen = [signum for signum in self._agreement.gather(self._signum) if isinstance(signum, int)]
        signum = max(seen, default=int(signal.SIGTERM))
        if trainer.is_global_zero:
            print(f"stopped by {signal.Signals(signum).name} {where}", file=sys.stderr)
            if checkpoint is not None:
                print(
                    f"checkpoint: {checkpoint}\nto go on: {resume_command(checkpoint, sys.orig_argv)}", file=sys.stderr
                )
            if signum == _signal("SIGUSR1") and requeue() and "resume=auto" not in sys.orig_argv:
                print("the job begins anew when it starts again: add resume=auto to its command", file=sys.stderr)
        trainer.strategy.barrier("stop")
        raise Stopped(signum, checkpoint, code=_status_of_rank(trainer, signum))

    def _release(self) -> None:
        self._active = False
        for signum, original in self._originals.items():
            if signal.getsignal(signum) == self._on_signal:
                signal.signal(signum, original)


def resume_command(checkpoint: Path, argv: list[str]) -> str:
    """The command line that continues: the one that was typed, with `resume=` the checkpoint.

    Args:
        checkpoint: where to go on from.
        argv: what was typed, the interpreter first (`sys.orig_argv`).

    Example:
        >>> resume_command(Path("run/last.ckpt"), ["/bin/python3", "-m", "omniformer.train", "seed=1", "resume=old"])
        'python -m omniformer.train seed=1 resume=run/last.ckpt'
        >>> resume_command(Path("run/last.ckpt"), ["/bin/python3", "/bin/omniformer", "train", "seed=1"])
        'omniformer train seed=1 resume=run/last.ckpt'
        >>> resume_command(Path("run/last.ckpt"), ["/bin/ipython"])
        'the same with resume=run/last.ckpt'
    """
    if checkpoint.is_relative_to(Path.cwd()):
        checkpoint = checkpoint.relative_to(Path.cwd())
    if not any("omniformer" in argument for argument in argv):
        return f"the same with resume={checkpoint}"
    rest = [argument for argument in argv[1:] if not argument.startswith("resume=")]
    # A console command is a script that the interpreter was given.
    command = ["omniformer", *rest[1:]] if Path(rest[0]).name == "omniformer" else ["python", *rest]
    return shlex.join([*command, f"resume={checkpoint}"])


def requeue() -> bool:
    """Asks SLURM to start this job again; False outside SLURM or when it refuses, which is logged."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return False
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.error("job %s was not put back into the queue: %s", job, error)
        return False
    if done.returncode:
        log.error("job %s was not put back into the queue: %s", job, done.stderr.strip())
    return done.returncode == 0


def _newest(folder: Path) -> Path | None:
    """The newest checkpoint of a folder that verifies, where there is one."""
    try:
        return latest_checkpoint(folder)
    except FileNotFoundError:
        return None


def _handled() -> list[int]:
    names = ("SIGINT", "SIGTERM", "SIGUSR1")
    return [signum for name in names if (signum := _signal(name)) is not None]


def _signal(name: str) -> int | None:
    """A signal's number; None where the system lacks it (SIGUSR1 on Windows)."""
    return getattr(signal, name, None)


def _as_before(signum: int, frame: FrameType | None, original: Any) -> None:
    """Does with a signal what would have happened without us."""
    if callable(original):
        original(signum, frame)
    elif original != signal.SIG_IGN:
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)


def _status_of_rank(trainer: Trainer, signum: int) -> int:
    """Processes that Lightning itself started must end with 0: it kills all others when one does not."""
    connector = trainer._accelerator_connector
    started_by_lightning = isinstance(connector.cluster_environment, LightningEnvironment) and trainer.local_rank > 0
    return 0 if started_by_lightning else 128 + signum
