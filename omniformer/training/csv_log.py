"""The run's log as one long CSV table."""

import csv
import io
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger

from omniformer.files.untrusted import no_formula

_COLUMNS = ("step", "epoch", "name", "value")


class CSVLog(Logger):
    """Appends one row `step,epoch,name,value` for each logged number.

    `step` is the number of optimizer steps done, `epoch` that of the epoch at hand, from 1: what the console says.

    Long rather than wide: a metric that appears late needs no rewriting, and every plotting library pivots. Append
    only: where a resumed run repeats steps that were lost in a crash, the later row of the same step and name counts.
    (Lightning's own CSV logger deletes the log of the run it resumes.)

    Args:
        path: the file; folders are made.
    """

    def __init__(self, *, path: str) -> None:
        super().__init__()
        self.path = Path(path)
        self._file: io.TextIOWrapper | None = None
        self._trainer: Trainer | None = None

    def follow(self, trainer: Trainer) -> None:
        """Takes steps and epochs from the trainer: what Lightning hands over counts from 0, in a test from 1."""
        self._trainer = trainer

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.stem

    @property
    def version(self) -> str:
        """Always empty: one run folder, one log."""
        return ""

    @property
    def save_dir(self) -> str:
        """The folder the file is in."""
        return str(self.path.parent)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Appends the numbers; `epoch`, which Lightning adds to each call, becomes a column."""
        epoch = metrics.get("epoch")
        if self._trainer is not None:
            step, epoch = self._trainer.global_step, _epoch(self._trainer)
        rows = [
            ("" if step is None else step, "" if epoch is None else int(epoch), no_formula(name), repr(float(value)))
            for name, value in metrics.items()
            if name != "epoch"
        ]
        if self._file is None:
            self._file = _open(self.path)
        csv.writer(self._file, lineterminator="\n").writerows(rows)
        # Whole rows reach the file at once, so that a kill can tear no more than the last one.
        self._file.flush()

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run folder's `config.yaml` holds them."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Closes the file; a later call of `log_metrics` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _epoch(trainer: Trainer) -> int:
    """The epoch at hand, from 1; outside of fit the last one that was trained."""
    if trainer.state.fn == "fit":
        return trainer.current_epoch + 1
    return trainer.fit_loop.epoch_progress.current.processed  # pyright: ignore[reportAttributeAccessIssue]


def _open(path: Path) -> io.TextIOWrapper:
    """The file, ready to append: with a header, and without a last row that a kill tore."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            with path.open("r+b") as file:
                file.truncate(content.rfind(b"\n") + 1)
    file = path.open("a", encoding="utf-8", newline="")
    if file.tell() == 0:
        file.write(",".join(_COLUMNS) + "\n")
    return file
