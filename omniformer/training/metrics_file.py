"""The run's results as a file for programs."""

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from omniformer.core.ranges import Seed
from omniformer.files.durable import write_durably
from omniformer.quantization import n_rounded
from omniformer.training.balance import Balance
from omniformer.training.machine import MachineShare
from omniformer.training.savepoint import is_trial
from omniformer.training.throughput import Throughput

log = logging.getLogger(__name__)


class MetricsFile(Callback):
    """Writes `metrics.json`: one flat object from names to numbers.

    After fit it holds `parameters`, `trained_parameters` (those that were not frozen), `seed`, `epochs`, `steps`, the
    last value of everything logged, `best/<name>` for every metric that a checkpoint callback watches, and what
    `Throughput` counted. After test (or validate) the numbers of that are added. Numbers already in the file stay until
    they are replaced, so that evaluating a finished run adds to it. A number that is not finite is left out with a
    warning: JSON has no word for it.

    Args:
        path: the file.
        seed: the run's seed, for the record.
    """

    def __init__(self, *, path: str, seed: Seed) -> None:
        self.path = Path(path)
        self.numbers: dict[str, float] = {"seed": seed}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Reads what an earlier part of the run has written."""
        if self.path.exists():
            self.numbers = read_metrics(self.path) | self.numbers

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collects and writes."""
        self.add(_logged(trainer))
        self.add({f"best/{name}": value for name, value in _best(trainer).items()})
        for callback in trainer.callbacks:  # pyright: ignore[reportAttributeAccessIssue]
            if isinstance(callback, Throughput | MachineShare | Balance):
                self.add(callback.results())
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in pl_module.parameters()]
        parameters = {
            "parameters": sum(n for n, _ in sizes) + n_rounded(pl_module),
            "trained_parameters": sum(n for n, learns in sizes if learns),
        }
        epochs = trainer.fit_loop.epoch_progress.current.processed  # pyright: ignore[reportAttributeAccessIssue]
        self.add(parameters | {"epochs": epochs, "steps": trainer.global_step})
        self._write(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the test metrics and writes."""
        self.add(_logged(trainer))
        self._write(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the metrics of a validation that is not part of fit, and writes."""
        if trainer.state.fn == "validate":
            self.add(_logged(trainer))
            self._write(trainer)

    def add(self, numbers: Mapping[str, Any]) -> None:
        """Adds numbers by name; they are written with the next part of the run that ends.

        Raises:
            TypeError: a value is not a number.
        """
        for name, value in numbers.items():
            value = value.item() if hasattr(value, "item") else value
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"metric {name!r} is {value!r}; metrics.json holds numbers only")
            if math.isfinite(value):
                self.numbers[name] = value
            else:
                self.numbers.pop(name, None)
                log.warning("metric %s is %s and left out of %s", name, value, self.path.name)

    def write(self) -> None:
        """Writes the file, sorted by name and atomically."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(self.path, json.dumps(self.numbers, indent=2, sort_keys=True, allow_nan=False) + "\n")

    def _write(self, trainer: Trainer) -> None:
        if trainer.is_global_zero and not is_trial(trainer):
            self.write()


def read_metrics(path: str | Path) -> dict[str, float]:
    """The numbers of a `metrics.json`.

    Raises:
        ValueError: the file is not one flat JSON object of numbers.
    """
    try:
        numbers = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(numbers, dict) or not all(_is_number(value) for value in numbers.values()):
        raise ValueError(f"{path} is not a flat JSON object of finite numbers")
    return numbers


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _logged(trainer: Trainer) -> dict[str, Any]:
    """The last value of everything logged; per epoch where a metric was logged both ways."""
    metrics = dict(trainer.callback_metrics)
    twice = {name.removesuffix("_epoch") for name in metrics if name.endswith("_epoch")}
    return {
        name: value for name, value in metrics.items() if not any(name in (t + "_step", t + "_epoch") for t in twice)
    }


def _best(trainer: Trainer) -> dict[str, Any]:
    scores = {}
    for callback in trainer.checkpoint_callbacks:
        name, score = getattr(callback, "monitor", None), getattr(callback, "best_model_score", None)
        if name is not None and score is not None:
            scores[name] = score
    return scores
