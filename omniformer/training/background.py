"""Checkpoints that are written beside the training: it waits for a copy in memory, not for the disk."""

import copy
import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins.io import CheckpointIO
from torch import Tensor

from omniformer.training.checkpoint_io import DurableCheckpointIO

log = logging.getLogger(__name__)


class BackgroundCheckpointIO(CheckpointIO):
    """Writes checkpoints as `DurableCheckpointIO` does, in a thread, from a copy in the host's memory.

    At most one is being written: the next save waits for it. A checkpoint that is to be removed stays until the one
    that was being written is on disk, and stays for good where that failed. The error of a save is raised by whichever
    call comes next: `check` at every step, the next save, or `finish`. (Lightning's `AsyncCheckpointIO` tells it with
    the next save or after the training, lets saves pile up, and removes the old file before the new one is written.)

    Example:
        >>> import tempfile
        >>> folder, io = Path(tempfile.mkdtemp()), BackgroundCheckpointIO()
        >>> io.save_checkpoint({"global_step": 3}, folder / "last.ckpt")
        >>> io.finish()
        >>> io.load_checkpoint(folder / "last.ckpt")
        {'global_step': 3}
    """

    def __init__(self) -> None:
        self._io = DurableCheckpointIO()
        self._saving: Future[None] | None = None
        self._outdated: list[str | Path] = []

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Copies `checkpoint` and begins to write it, once the one before is on disk.

        Raises:
            TypeError: of the save before, as for `DurableCheckpointIO`.
            OSError: likewise; names the file.
        """
        self.finish()
        writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._saving = writer.submit(self._io.save_checkpoint, snapshot(checkpoint), path, storage_options)
        writer.shutdown(wait=False)  # its thread ends with this one save; the interpreter waits for it

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """As `DurableCheckpointIO`, after what is being written."""
        self.finish()
        return self._io.load_checkpoint(path, map_location, weights_only)

    def read(self, path: str | Path, map_location: Any | None = None) -> dict[str, Any]:
        """Likewise."""
        self.finish()
        return self._io.read(path, map_location)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Removes a checkpoint and its sidecar, once the one that is being written is on disk."""
        self._outdated.append(path)
        self.check()

    def check(self) -> None:
        """Looks whether the save is done, without waiting; raises its error."""
        if self._saving is None or self._saving.done():
            self.finish()

    def finish(self) -> None:
        """Waits until what was saved is on disk; raises the error of saving, once."""
        saving, self._saving = self._saving, None
        outdated, self._outdated = self._outdated, []
        if saving is not None:
            saving.result()
        for path in outdated:
            self._io.remove_checkpoint(path)

    def teardown(self) -> None:
        """Waits as well: nothing else would tell of a save after the training."""
        self.finish()


class BackgroundSaving(Callback):
    """Has checkpoints written while the training goes on; costs a copy of weights and optimizer in the host's memory.

    A save that fails stops the run after the step in which that is known, names cause and file, and leaves the
    checkpoint before. What is said to be saved is on disk: at the end of the training, and where a signal stopped it.
    """

    def __init__(self) -> None:
        self.io = BackgroundCheckpointIO()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stops the run if a save has failed."""
        self.io.check()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Likewise."""
        self.io.check()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Waits for the last save, on all ranks: the best checkpoint is about to be read."""
        self.io.finish()
        trainer.strategy.barrier("saved")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Waits for the last save; should it fail too, that is told, and the exception that ended the run stays."""
        try:
            self.io.finish()
        except Exception as error:
            log.error("%s", error)


def snapshot(value: Any) -> Any:
    """A copy in the host's memory that nothing changes any more; tensors that share memory still do.

    Args:
        value: a checkpoint, or a part of one: tensors, plain values, and containers of them.
    """
    return _copied(value, {})


def _copied(value: Any, known: dict[tuple[Any, ...], Tensor]) -> Any:
    if isinstance(value, Tensor):
        if value.is_meta:  # it stands for one that lies in pieces
            return value
        key = _place(value)
        if key not in known:
            known[key] = value.detach().to("cpu", copy=True)
        return known[key]
    if isinstance(value, Mapping):
        same = copy.copy(value)  # a state_dict carries the versions of its modules as an attribute
        for name, each in value.items():
            same[name] = _copied(each, known)  # pyright: ignore[reportIndexIssue]
        return same
    if isinstance(value, list):
        return [_copied(each, known) for each in value]
    if type(value) is tuple:
        return tuple(_copied(each, known) for each in value)
    return copy.copy(value)


def _place(tensor: Tensor) -> tuple[Any, ...]:
    """The same for tensors that are one and the same memory, such as tied weights."""
    where = (tensor.device, tensor.untyped_storage().data_ptr(), tensor.storage_offset())
    return (*where, tensor.dtype, tuple(tensor.shape), tensor.stride())
