"""What a run folder says, read for people: settings, numbers, the log, and what was said of each sample."""

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omniformer.run_folder import read_run
from omniformer.training.metrics_file import read_metrics

MOST_ROWS = 200_000  # predictions of one split of one member that are read

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run folder.

    Args:
        folder: where it is.
        config: what it was begun with.
        numbers: of `metrics.json`; none where there is no such file.
        curves: by the name of a number its values by step, in order; of a step that was logged twice the later one.
    """

    folder: Path
    config: Mapping[str, Any]
    numbers: Mapping[str, float]
    curves: Mapping[str, Mapping[int, float]]

    @property
    def name(self) -> str:
        """What the run is called."""
        return str(self.config.get("name") or self.folder.name)


def read(folder: str | Path) -> Run:
    """What a run folder says.

    Raises:
        FileNotFoundError: it is no run folder.
        ValueError: a file in it is damaged; names it.
    """
    output, config = read_run(folder)
    metrics = output / "metrics.json"
    numbers = read_metrics(metrics) if metrics.is_file() else {}
    return Run(folder=output, config=config, numbers=numbers, curves=_curves(output / "metrics.csv"))


def _curves(path: Path) -> dict[str, dict[int, float]]:
    found: defaultdict[str, dict[int, float]] = defaultdict(dict)
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            try:
                for row in csv.DictReader(file):
                    if row["step"]:
                        found[row["name"].removeprefix("'")][int(row["step"])] = float(row["value"])
            except (KeyError, TypeError, ValueError, csv.Error) as error:
                raise ValueError(f"{path} is damaged: {error!r}; remove it to go without curves") from error
    return {name: dict(sorted(values.items())) for name, values in found.items()}


def predictions(folder: Path) -> tuple[dict[tuple[str, str], list[Row]], int]:
    """What was said of each sample, by split and member, in order, and how many lines were not read.

    Of the scores of classes those of the target and of the prediction are kept.

    Raises:
        ValueError: the file is damaged; names the line.
    """
    found: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    left = 0
    for row in _rows(folder / "predictions.jsonl"):
        rows = found[row["split"], row["member"]]
        if len(rows) < MOST_ROWS:
            rows.append(row | {"place": len(rows)})
        else:
            left += 1
    return dict(found), left


def _rows(path: Path) -> Iterator[Row]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                _ = row["split"], row["member"], row["id"], row["target"], row["prediction"]
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise ValueError(f"{path}, line {number} is damaged: {error!r}; measure the run again") from error
            scores = row.get("scores")
            if isinstance(scores, dict) and not isinstance(row["target"], dict) and "rank" not in row:
                wanted = {str(row["target"]), str(row["prediction"])}
                row["scores"] = {name: score for name, score in scores.items() if name in wanted}
            yield row
