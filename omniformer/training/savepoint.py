"""The moments of a run at which a checkpoint continues it exactly, and the base of callbacks that save then."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loops.progress import _BatchProgress


class SavePoint(Checkpoint, ABC):
    """Calls `reached` wherever a checkpoint written now continues the run as if it had never stopped.

    These are: the end of a training batch after which the next training batch follows, with no gradients half
    accumulated; the start of a validation; the last batch of all. After a batch with a validation behind it, Lightning
    would take that validation for done when it resumes; at the end of an epoch it forgets the loader's place. Being a
    `Checkpoint`, the callback runs after all others, whose state is then up to date.
    """

    monitor: str | None = None  # Lightning asks every checkpoint callback what it watches

    @abstractmethod
    def reached(self, trainer: Trainer, *, before_validation: bool) -> None:
        """Saves with `save(trainer, path, before_validation=before_validation)`, or lets the moment pass."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A moment, unless gradients are half accumulated, or something else follows before the next training batch."""
        loop = trainer.fit_loop.epoch_loop
        if loop._should_accumulate() or (loop._num_ready_batches_reached() and not is_last_step(trainer)):
            return
        if trainer.fit_loop._data_fetcher is not None and loop._should_check_val_fx(trainer.fit_loop._data_fetcher):
            return
        self.reached(trainer, before_validation=False)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A moment: no weights are swapped and no metric has seen a batch."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            _count_what_is_finished(trainer)
            self.reached(trainer, before_validation=True)


def save(trainer: Trainer, path: Path, *, before_validation: bool) -> None:
    """Saves a checkpoint on all ranks together.

    Args:
        trainer: in the middle of `fit`.
        path: where to.
        before_validation: the run stands at or in a validation, which has to be done from its beginning after a resume.
    """
    if not before_validation:
        trainer.save_checkpoint(path, weights_only=False)
        return
    progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
    kept = progress.state_dict()
    _rewind(progress)
    try:
        trainer.save_checkpoint(path, weights_only=False)
    finally:
        progress.load_state_dict(kept)


def finish(trainer: Trainer) -> None:
    """Waits until what was saved is on disk, where it is written in the background.

    Raises:
        OSError: it cannot be written; names the file.
    """
    trainer.strategy.checkpoint_io.finish()  # pyright: ignore[reportAttributeAccessIssue]


def _count_what_is_finished(trainer: Trainer) -> None:
    """Takes the batch that a kill left unfinished out of the validation's totals.

    Lightning sets back the counts of the validation that it resumes and not those of all validations of the epoch, by
    which it decides at the next resume whether a validation was under way: it would leave one out, or do one twice.
    """
    trainer.fit_loop.epoch_loop.val_loop.batch_progress.total.reset_on_restart()


def _rewind(progress: _BatchProgress) -> None:
    """Makes the validation's counters say: the first batch was begun and none is finished.

    That is the one state in which Lightning goes back into a validation when it resumes.
    """
    for name in ("ready", "started", "processed", "completed"):
        done = getattr(progress.current, name)
        setattr(progress.total, name, getattr(progress.total, name) - done)
        setattr(progress.current, name, 0)
    progress.is_last_batch = False
    progress.increment_ready()
    progress.increment_started()


def is_last_step(trainer: Trainer) -> bool:
    """Whether the training batch that was just done is the last one planned."""
    if trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps:
        return True
    last_epoch = trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs
    return last_epoch and trainer.fit_loop.epoch_loop._num_ready_batches_reached()


def is_trial(trainer: Trainer) -> bool:
    """Whether this is a `fast_dev_run`, which leaves no files behind."""
    return bool(trainer.fast_dev_run)  # pyright: ignore[reportAttributeAccessIssue]
