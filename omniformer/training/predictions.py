"""What the model says of each sample of validation and test, as a file beside the numbers."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain, zip_longest
from pathlib import Path
from typing import IO, Any

from lightning import Callback, LightningModule, Trainer

from omniformer.files.durable import write_durably
from omniformer.training.agreement import Agreement
from omniformer.training.savepoint import is_trial

Row = Mapping[str, Any]


class Predictions(Callback):
    """Writes `predictions.jsonl`: one object a line, of each sample of validation and test in the order of the data.

    Each has `split`, `member`, `id`, `target` and `prediction`, and `scores` where there are some. Tasks that say
    nothing of single samples leave no lines, and a run of such tasks no file. The lines of a split are replaced when it
    is measured again; those of the other one stay. Validations in the midst of training write nothing.

    What has been found waits in a file without a name, so that memory does not grow with the split. Of several ranks
    the first one writes everything.

    Args:
        path: the file.
    """

    def __init__(self, *, path: str) -> None:
        self.path = Path(path)
        self.rows = 0  # of the split that was measured last
        self._waiting: dict[str, IO[str]] = {}
        self._ranks: Agreement | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Gets ready to ask the other ranks, at a moment that all of them share."""
        self._ranks = Agreement(trainer) if stage != "fit" else None
        self._waiting, self.rows = {}, 0

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Notes what was said of the samples, unless the validation is one of many."""
        if trainer.state.fn == "validate":
            self._note(trainer, pl_module, outputs, batch)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Notes what was said of the samples."""
        self._note(trainer, pl_module, outputs, batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Notes what was said of the samples."""
        self._note(trainer, pl_module, outputs, batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file, unless the validation was one of many."""
        if trainer.state.fn == "validate":
            self._write(trainer, pl_module, "val")

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file."""
        self._write(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file."""
        self._write(trainer, pl_module, "test")

    def _note(self, trainer: Trainer, module: Any, steps: Mapping[str, Any], batches: Mapping[str, Any]) -> None:
        assert self._ranks is not None
        for name, batch in batches.items():
            own: list[Row] = []
            if name in steps:
                labels = trainer.datamodule.labels(name)  # pyright: ignore[reportAttributeAccessIssue]
                own = list(module.tasks[name].rows(module.model.heads[name], steps[name], batch, labels))
            each: list[Any] = self._ranks.gather_read(own)
            # Ranks take turns at the samples of a batch, so their rows do too.
            rows = [row for row in chain.from_iterable(zip_longest(*each)) if row is not None]
            if rows and trainer.is_global_zero and not is_trial(trainer):
                self._file(name).writelines(_line(row) for row in rows)
            self.rows += len(rows)

    def _file(self, name: str) -> IO[str]:
        if name not in self._waiting:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._waiting[name] = tempfile.TemporaryFile("w+", encoding="utf-8", dir=self.path.parent)  # noqa: SIM115
        return self._waiting[name]

    def _write(self, trainer: Trainer, module: Any, split: str) -> None:
        if self._waiting:
            write_durably(self.path, chain(others(self.path, split), self._lines(module, split)))
        for file in self._waiting.values():
            file.close()
        self._waiting = {}

    def _lines(self, module: Any, split: str) -> Iterator[str]:
        for name, file in self._waiting.items():
            file.seek(0)
            for row in module.tasks[name].together(map(json.loads, file)):
                yield _line({"split": split, "member": name, **row})


def others(path: Path, split: str) -> Iterator[str]:
    """The lines of a file of predictions that are of another split; none where there is no file."""
    with suppress(FileNotFoundError), path.open(encoding="utf-8") as file:
        yield from (line for line in file if not line.startswith(_line({"split": split}).rstrip("}\n")))


def write_texts(path: Path, predictions: Path) -> None:
    """Writes what the model wrote in the test beside what it should have written, one JSON object a line; no file where
    it wrote nothing.

    Args:
        path: the file.
        predictions: the file of all predictions.
    """
    lines = _texts(predictions)
    if first := next(lines, None):
        write_durably(path, chain([first], lines))


def _texts(predictions: Path) -> Iterator[str]:
    for line in others(predictions, "val"):
        row = json.loads(line)
        if isinstance(row["prediction"], str) and "scores" not in row:
            texts = {"written": row["prediction"], "expected": row["target"]}
            yield _line({"member": row["member"], "id": row["id"], **texts})


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
