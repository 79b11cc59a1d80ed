"""Loggers of services that keep runs: a run that is resumed goes on there as the same one."""

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger, MLFlowLogger, WandbLogger

from omniformer.files.durable import write_durably


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


class TrackioLog(Logger):
    """Trackio, in a database on this machine: nothing leaves it unless an address is given. `trackio show` draws it.

    Args:
        output_dir: the run folder, whose name is that of the run, so that a resumed run goes on as the same one.
        project: under which runs stand beside each other.
        **options: of `trackio.init`: `group`, `server_url`, `space_id`...

    Raises:
        ImportError: trackio is not installed.
    """

    def __init__(self, *, output_dir: str, project: str = "omniformer", **options: Any) -> None:
        super().__init__()
        if find_spec("trackio") is None:
            raise ImportError("logger=trackio needs the package trackio: pip install trackio")
        self._output_dir, self._project, self._options = output_dir, project, options
        self._run: Any = None

    @property
    def name(self) -> str:
        """The project."""
        return self._project

    @property
    def version(self) -> str:
        """What trackio calls the run."""
        return run_id(self._output_dir)

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return self._output_dir

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Keeps the settings of the run, where it is the first to say something of it."""
        self._begun({str(name): str(value) for name, value in dict(params).items()})

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs numbers of a step."""
        self._begun({}).log({name: float(value) for name, value in metrics.items()}, step=step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Waits until all is written."""
        if self._run is not None:
            self._run.finish()
            self._run = None

    def _begun(self, config: Mapping[str, str]) -> Any:
        if self._run is None:
            import trackio  # pyright: ignore[reportMissingImports]

            names = {"project": self._project, "name": self.version, "resume": "allow"}
            self._run = trackio.init(**{**names, "config": dict(config), "embed": False, **self._options})
        return self._run
