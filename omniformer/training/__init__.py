"""Training on Lightning: optimizers, schedules, and callbacks that make runs exact, durable and readable.

The public names load on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omniformer.training.accumulation import KeepGradients as KeepGradients
    from omniformer.training.background import BackgroundSaving as BackgroundSaving
    from omniformer.training.checkpoint_io import CorruptCheckpointError as CorruptCheckpointError
    from omniformer.training.checkpoint_io import DurableCheckpointIO as DurableCheckpointIO
    from omniformer.training.checkpoint_io import latest_checkpoint as latest_checkpoint
    from omniformer.training.checkpoints import BestCheckpoint as BestCheckpoint
    from omniformer.training.checkpoints import RecentCheckpoint as RecentCheckpoint
    from omniformer.training.csv_log import CSVLog as CSVLog
    from omniformer.training.early_stopping import EarlyStopping as EarlyStopping
    from omniformer.training.ema import EMA as EMA
    from omniformer.training.finite import Finite as Finite
    from omniformer.training.finite import NonFiniteError as NonFiniteError
    from omniformer.training.memory import LastBatch as LastBatch
    from omniformer.training.memory import NoMemoryError as NoMemoryError
    from omniformer.training.memory import keep_memory as keep_memory
    from omniformer.training.metrics_file import MetricsFile as MetricsFile
    from omniformer.training.metrics_file import read_metrics as read_metrics
    from omniformer.training.optimizers import AdamW as AdamW
    from omniformer.training.optimizers import Muon as Muon
    from omniformer.training.progress import TrainingProgress as TrainingProgress
    from omniformer.training.results import print_results as print_results
    from omniformer.training.rng import StepSeeds as StepSeeds
    from omniformer.training.schedules import total_steps as total_steps
    from omniformer.training.stop import Stop as Stop
    from omniformer.training.stop import Stopped as Stopped
    from omniformer.training.throughput import Throughput as Throughput
    from omniformer.training.trainer import build_trainer as build_trainer

# Public surface in reading order: the trainer, what moves the weights, what makes a run exact and durable, what is seen
# of it.
_WHERE = {
    "build_trainer": "trainer",
    "AdamW": "optimizers",
    "Muon": "optimizers",
    "total_steps": "schedules",
    "EMA": "ema",
    "StepSeeds": "rng",
    "KeepGradients": "accumulation",
    "Finite": "finite",
    "NonFiniteError": "finite",
    "Stop": "stop",
    "Stopped": "stop",
    "BestCheckpoint": "checkpoints",
    "EarlyStopping": "early_stopping",
    "RecentCheckpoint": "checkpoints",
    "DurableCheckpointIO": "checkpoint_io",
    "BackgroundSaving": "background",
    "CorruptCheckpointError": "checkpoint_io",
    "latest_checkpoint": "checkpoint_io",
    "Throughput": "throughput",
    "MetricsFile": "metrics_file",
    "print_results": "results",
    "read_metrics": "metrics_file",
    "CSVLog": "csv_log",
    "TrainingProgress": "progress",
    "keep_memory": "memory",
    "LastBatch": "memory",
    "NoMemoryError": "memory",
}
__all__ = list(_WHERE)


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_WHERE)}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_WHERE)
