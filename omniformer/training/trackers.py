"""Loggers of services that keep runs: a run that is resumed goes on there as the same one."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import MLFlowLogger, WandbLogger

from omniformer.training.checkpoint_io import write_durably


def run_id(output_dir: str | Path) -> str:
    """What a service is to call a run: its folder and the one around it, so that a resumed run has the same name.

    Example:
        >>> run_id("outputs/vision/2026-11-22_10-00-00-000")
        'vision-2026-11-22_10-00-00-000'
    """
    return re.sub(r"[^\w.-]+", "_", "-".join(Path(output_dir).parts[-2:]))


class WandbLog(WandbLogger):
    """Weights & Biases; Lightning's, with the run folder as the id of the run. Other arguments as for
    `lightning.pytorch.loggers.WandbLogger`.

    Args:
        output_dir: the run folder, in which files of the service lie too.
    """

    def __init__(self, *, output_dir: str, **options: Any) -> None:
        super().__init__(save_dir=output_dir, **{"id": run_id(output_dir), **options})


class MLFlowLog(MLFlowLogger):
    """MLflow; Lightning's. The service gives a run its id, which is kept in the run folder. Other arguments as for
    `lightning.pytorch.loggers.MLFlowLogger`.

    Args:
        output_dir: the run folder.
    """

    def __init__(self, *, output_dir: str, **options: Any) -> None:
        self._kept = Path(output_dir) / "mlflow-run-id"
        known = self._kept.read_text(encoding="utf-8").strip() if self._kept.is_file() else None
        super().__init__(**{"run_id": known, "run_name": run_id(output_dir), **options})

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs, and keeps the id of the run from the first time on."""
        super().log_metrics(metrics, step)
        if not self._kept.is_file() and self.run_id is not None:
            write_durably(self._kept, f"{self.run_id}\n")
