"""What a sweep found: mean and spread over the runs that differ in their fold or seed alone."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from lightning.fabric.utilities.rank_zero import rank_zero_only

from omniformer.files.durable import write_durably
from omniformer.terminal.tables import show
from omniformer.training.metrics_file import read_metrics
from omniformer.training.results import format_number, ordered

SUMMARY = "summary.json"
# What only repeats a run: which part of the data validates or tests, and the seed.
_REPEATS = re.compile(r"([\w.]+\.)?(fold|seed)=")
_SCORES = ("test/", "val/")


def repeats(setting: str) -> bool:
    """Whether a setting, `key=value`, only repeats a run: says its fold or its seed.

    Example:
        >>> repeats("data.fold=3"), repeats("optim.lr=0.1")
        (True, False)
    """
    return _REPEATS.match(setting) is not None


def print_spread(runs: Sequence[tuple[Path, Sequence[str]]]) -> None:
    """Prints a table of mean and spread for each setting that ran more than once, and writes them all beside the runs.

    Args:
        runs: the folder of each run of a sweep, and what was set for it.
    """
    done = [(folder, settings) for folder, settings in runs if (folder / "metrics.json").is_file()]
    found = {setting: spread(folders) for setting, folders in grouped(done).items() if len(folders) > 1}
    for setting, numbers in found.items():
        _print(setting, numbers)
    if found and rank_zero_only.rank == 0:
        path = runs[0][0].parent / SUMMARY
        write_durably(path, json.dumps(found, indent=2) + "\n")


def grouped(runs: Sequence[tuple[Path, Sequence[str]]]) -> dict[str, list[Path]]:
    """The folders of runs that differ in fold or seed alone, by what else was set for them and not for all.

    Example:
        >>> grouped([(Path("0"), ["lr=1", "data.fold=0"]), (Path("1"), ["lr=1", "data.fold=1"]), (Path("2"), ["lr=2"])])
        {'lr=1': [PosixPath('0'), PosixPath('1')], 'lr=2': [PosixPath('2')]}
    """
    told = [[each for each in settings if not repeats(each)] for _, settings in runs]
    groups: dict[str, list[Path]] = {}
    for (folder, _), settings in zip(runs, told, strict=True):
        own = [each for each in settings if not all(each in others for others in told)]
        groups.setdefault(" ".join(own), []).append(folder)
    return groups


def spread(folders: Sequence[Path]) -> dict[str, dict[str, float]]:
    """Mean, deviation (of a sample: n - 1), least and largest of each score that all of some runs have.

    Args:
        folders: of the runs, at least two, each with its `metrics.json`.
    """
    every = [read_metrics(folder / "metrics.json") for folder in folders]
    names = [name for name in every[0] if all(name in each for each in every) and _is_score(name)]
    return {name: _of([each[name] for each in every]) for name in ordered(names, main=_main(names))}


def _of(values: Sequence[float]) -> dict[str, float]:
    return {"n": len(values), "mean": mean(values), "std": stdev(values), "min": min(values), "max": max(values)}


def _is_score(name: str) -> bool:
    return any(part in name for part in _SCORES) or "baseline/" in name


def _main(names: Sequence[str]) -> str:
    """The metric that the best checkpoint follows, as `metrics.json` tells it."""
    return next((name.removeprefix("best/") for name in names if name.startswith("best/")), "")


def _print(setting: str, numbers: Mapping[str, Mapping[str, float]]) -> None:
    if rank_zero_only.rank:
        return
    from rich.markup import escape
    from rich.table import Table

    n = max((int(each["n"]) for each in numbers.values()), default=0)
    table = Table(title=escape(f"{setting}: mean and spread of {n} runs".removeprefix(": ")), title_justify="left")
    table.add_column("metric")
    for column in ("mean", "std", "min", "max"):
        table.add_column(column, justify="right")
    for name, found in numbers.items():
        table.add_row(escape(name), *(format_number(name, found[key]) for key in ("mean", "std", "min", "max")))
    show(table)
