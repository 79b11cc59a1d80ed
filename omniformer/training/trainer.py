"""Lightning's trainer with the house's plugins."""

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning import Callback
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_info

from omniformer.config import build
from omniformer.parallel.compiling import Trainer
from omniformer.parallel.setup import check_processes, n_devices
from omniformer.parallel.strategy import FSDP
from omniformer.training.background import BackgroundSaving
from omniformer.training.checkpoint_io import DurableCheckpointIO, remove_leftovers
from omniformer.training.csv_log import CSVLog
from omniformer.training.savepoint import SavePoint
from omniformer.training.watchdog import Watchdog

# Seconds; a rank that waits this long for another is waiting for a dead one. `callbacks.watchdog` says otherwise.
_PATIENCE = 600.0

# Start-up notices and adverts of Lightning: true in every run, or not for us to say.
_NOTICES = (
    "GPU available",
    "TPU available",
    "HPU available",
    "💡 Tip",
    "`Trainer.fit` stopped",
    "`Trainer(val_check_interval=1.0)` was configured",
    "Restoring states from the checkpoint",
    "Restored all states from the checkpoint",
    "Loaded model weights from the checkpoint",
    "Using default `ModelCheckpoint`",
    "`Trainer(val_check_interval=",
    "Found current_model_state in the checkpoint",
)
# Warnings that our own settings answer: the loaders' workers are the user's choice, a resumed run's folder is not
# empty, ...
_ANSWERED = (
    r".*does not have many workers which may be a bottleneck.*",
    r".*exists and is not empty.*",
    r".*The number of training batches .* is smaller than the logging interval.*",
    r".*set_vital.*",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",
    r"Total length of `EvaluationLoader` across ranks is zero",  # a run tells: "0 validate"
    r"Found \d+ module\(s\) in eval mode at the start of training",  # frozen parts: see warm_start.freeze
)


def build_trainer(
    options: Mapping[str, Any],
    *,
    callbacks: Mapping[str, Callback | None],
    loggers: Mapping[str, Logger | None],
    output_dir: str,
) -> Trainer:
    """A `lightning.Trainer` that writes durable checkpoints, keeps our loaders' order, and gives up on dead ranks.

    Args:
        options: those of the trainer, by Lightning's names, and `compile`; `_target_` is passed over. Parts such as a
            profiler may be descriptions for `build`.
        callbacks: by name, so that a config can switch a single one off by setting it to null.
        loggers: likewise.
        output_dir: the run folder. What a killed run left half-written in its `checkpoints` is removed.

    Raises:
        ValueError: an option is set that the house decides: callbacks, logger, plugins and so on; or the machine has no
            such devices, or the processes cannot find each other (`omniformer.parallel.setup`).
        TypeError: Lightning does not know an option.
    """
    quiet()
    options = {name: build(value, f"trainer.{name}") for name, value in options.items() if name != "_target_"}
    present = [callback for callback in callbacks.values() if callback is not None]
    # The one that watches a metric first: `trainer.checkpoint_callback` is the first of its kind.
    present.sort(key=lambda callback: isinstance(callback, SavePoint))
    ours: dict[str, Any] = {
        "callbacks": present,
        "logger": [logger for logger in loggers.values() if logger is not None] or False,
        "plugins": _plugins(present),
        "default_root_dir": output_dir,
        # The data module shards by rank itself, after the shuffle, so that the order does not depend on the ranks.
        "use_distributed_sampler": False,
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in present),
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in present),
    }
    if clash := sorted(options.keys() & ours.keys()):
        raise ValueError(
            f"trainer.{clash[0]} cannot be set here: callbacks, loggers and paths have config groups of their own"
        )
    check_processes(options, n_devices=n_devices(options))
    remove_leftovers(Path(output_dir) / "checkpoints")
    patience = next((each.seconds for each in present if isinstance(each, Watchdog)), _PATIENCE)
    try:
        trainer = Trainer(**(options | {"strategy": _strategy(options, timedelta(seconds=patience))} | ours))
    except MisconfigurationException as error:
        told = " ".join(str(error).split())
        asked = ", ".join(f"trainer.{name}={options[name]}" for name in ("accelerator", "devices") if name in options)
        raise ValueError(f"{asked}: {told} Choose what this machine has, such as trainer=default") from error
    for logger in trainer.loggers:
        if isinstance(logger, CSVLog):
            logger.follow(trainer)
    return trainer


def measuring(options: Mapping[str, Any], device: torch.device | None = None) -> dict[str, Any]:
    """The trainer's options for measuring again: plain values. Parts, such as a profiler, belong to the training.

    Args:
        options: those of the training.
        device: where everything runs, in one process; None for what the options say.

    Example:
        >>> measuring({"max_epochs": 3, "accelerator": "gpu"}, torch.device("cpu"))["accelerator"]
        'cpu'
    """
    left_out = [name for name, value in options.items() if "_target_" in json.dumps(value, default=str)]
    if left_out:
        rank_zero_info(f"trainer.{', trainer.'.join(left_out)} of the run are not needed to measure it, and left out")
    kept = {name: value for name, value in options.items() if name not in left_out}
    if device is None:
        return kept
    number = 1 if device.type == "cpu" or device.index is None else [device.index]
    return kept | {"accelerator": device.type, "devices": number, "num_nodes": 1, "strategy": "auto"}


def best_checkpoint(trainer: Trainer) -> ModelCheckpoint | None:
    """The callback that keeps the checkpoint with the best validation, where one was watched and found."""
    callback = trainer.checkpoint_callback
    return callback if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_path else None


def quiet() -> None:
    """Hides Lightning's adverts, start-up notices, and warnings that our settings answer; nothing else."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logger = logging.getLogger(name)
        if not any(isinstance(old, _Notices) for old in logger.filters):
            logger.addFilter(_Notices())
    for message in _ANSWERED:
        warnings.filterwarnings("ignore", message)


class _Notices(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().lstrip().startswith(_NOTICES)


def _plugins(callbacks: Sequence[Callback]) -> list[Any]:
    background = (each.io for each in callbacks if isinstance(each, BackgroundSaving))
    plugins: list[Any] = [next(background, None) or DurableCheckpointIO()]
    # Torchrun within a job of SLURM has started this process, and says who it is; SLURM knows of torchrun alone.
    if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
        # `Stop` saves and requeues in the normal course of training; Lightning would do it inside a signal handler.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    return plugins


def _strategy(options: Mapping[str, Any], patience: timedelta) -> Any:
    """DDP with a limit to waiting, where DDP is what is asked for; otherwise what was given, with the same limit."""
    strategy = options.get("strategy", "auto")
    if isinstance(strategy, FSDP):
        strategy.patience = patience
    if strategy == "ddp" or (strategy == "auto" and n_devices(options) > 1):
        return DDPStrategy(timeout=patience, gradient_as_bucket_view=True)
    return strategy
