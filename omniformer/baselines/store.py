"""Scores of simple methods on disk, by a hash of the data, and beside a run's own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info
from rich.table import Table

from omniformer.baselines.baseline import Score
from omniformer.baselines.problem import Problem
from omniformer.files.durable import write_durably
from omniformer.terminal.tables import show

_FORMAT = 1


def place(root: Path, problem: Problem) -> Path:
    """The file of a problem, under the folder of all runs."""
    return root / "baselines" / f"{problem.name}-{problem.digest()[:16]}" / "baseline.json"


def write(path: Path, problem: Problem, scores: Sequence[Score]) -> None:
    """Writes the scores of a problem, whole or not at all."""
    samples = {split: len(raws) for split, raws in problem.raws.items()}
    told = {"format": _FORMAT, "name": problem.name, "samples": samples, "scores": [asdict(each) for each in scores]}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, json.dumps(told, indent=2, allow_nan=False) + "\n")


def compute(root: Path, problem: Problem, seed: int) -> Path:
    """Runs every simple method that fits a problem, prints a table of their scores as they come, and writes the file.

    Args:
        root: the folder of all runs.
        problem: the data and the task.
        seed: of methods that draw.
    """
    from omniformer.baselines.every import run  # scikit-learn takes a second, and only who computes needs it

    scores, table = [], Table(title=f"{problem.name}: simple methods", title_justify="left")
    for score in run(problem, seed):
        rank_zero_info(f"{problem.name}: {score.name} took {score.seconds:.1f} s")
        scores.append(score)
    main = problem.main(scores[0].scores)
    for column in ("method", *(f"{split}/{main}" for split in scores[0].scores), "seconds", "learned from"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for score in scores:
        values = [f"{found[main]:.4f}" if main in found else "" for found in score.scores.values()]
        table.add_row(score.name, *values, f"{score.seconds:.1f}", f"{score.samples:,}")
    show(table)
    path = place(root, problem)
    write(path, problem, scores)
    print(f"kept in {path}")
    return path


def stored(root: Path, problem: Problem) -> tuple[Path, list[Score]] | None:
    """The scores of a problem, where they were computed for these very data; the data are read only if any were.

    Raises:
        ValueError: the file is damaged.
    """
    if not any((root / "baselines").glob(f"{problem.name}-*/baseline.json")):
        return None
    path = place(root, problem)
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return path, [Score(**each) for each in told["scores"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}; remove it, and compute it again") from error


def numbers(scores: Sequence[Score]) -> dict[str, float]:
    """The scores by the names under which `metrics.json` has them.

    Example:
        >>> numbers([Score(name="linear on words", seconds=1.0, samples=9, scores={"test": {"accuracy": 0.5}})])
        {'baseline/linear_on_words/test/accuracy': 0.5}
    """
    return {
        f"baseline/{score.name.replace(' ', '_')}/{split}/{metric}": value
        for score in scores
        for split, found in score.scores.items()
        for metric, value in found.items()
    }


def beside(scores: Sequence[Score], modes: Mapping[str, str | None]) -> dict[str, str]:
    """What stands beside a run's own number in its table, by that number's name, such as `test/accuracy`: the scores of
    all methods, the best first.

    Args:
        scores: of the methods.
        modes: which way each metric is better.

    Example:
        >>> scores = [
        ...     Score(name=name, seconds=1.0, samples=9, scores={"test": {"accuracy": value}})
        ...     for name, value in (("words", 0.5), ("letters", 0.75))
        ... ]
        >>> beside(scores, {"accuracy": "max"})
        {'test/accuracy': 'letters 0.7500, words 0.5000'}
    """
    rows: dict[str, list[tuple[float, str]]] = {}
    for score in scores:
        for split, found in score.scores.items():
            for metric, value in found.items():
                rows.setdefault(f"{split}/{metric}", []).append((value, score.name))
    return {
        name: ", ".join(
            f"{method} {value:.4f}"
            for value, method in sorted(row, reverse=modes.get(name.partition("/")[2]) != "min", key=lambda x: x[0])
        )
        for name, row in rows.items()
    }
