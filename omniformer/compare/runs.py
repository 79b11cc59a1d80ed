"""Runs that differ in their seed or fold alone as one, and what differs between the others."""

import glob
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from omniformer.report.run import Run, read
from omniformer.training.resume import leaves

# Where a run reads and writes and what it shows: no part of what it is.
_ASIDE = (
    "paths.*",
    "hydra.*",
    "logger*",
    "resume",
    "report",
    "name",
    "*.dirpath",
    "*.path",
    "*data_root",
    "*.num_workers",
)
_SOURCE = ("data.source.*", "members.*.data.source.*")


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of the same settings.

    Args:
        runs: of them.
        settings: by key.
    """

    runs: Sequence[Run]
    settings: Mapping[str, Any]

    def numbers(self, name: str) -> list[float]:
        """A number of the runs that have it."""
        return [run.numbers[name] for run in self.runs if name in run.numbers]

    def told(self, name: str) -> tuple[float, float | None] | None:
        """Mean and deviation (n - 1) of a number; no deviation of one run, None where no run has it."""
        values = self.numbers(name)
        return (mean(values), stdev(values) if len(values) > 1 else None) if values else None


def find(given: Sequence[str]) -> list[Path]:
    """The run folders that some folders or patterns stand for: themselves, or else all below them; each once.

    Raises:
        FileNotFoundError: one stands for none.
    """
    found: dict[Path, Path] = {}
    for each in given:
        places = [Path(each)] if Path(each).exists() else [Path(place) for place in sorted(glob.glob(each))]
        inside = [run for place in places for run in _inside(place)]
        if not inside:
            raise FileNotFoundError(
                f"{each} holds no run: no config.yaml in it or below; give folders of runs, or of sweeps"
            )
        found |= {run.resolve(): run for run in inside if run.resolve() not in found}
    return list(found.values())


def _inside(place: Path) -> list[Path]:
    if (place / "config.yaml").is_file():
        return [place]
    return sorted(path.parent for path in place.glob("**/config.yaml") if not path.parent.is_symlink())


def grouped(folders: Sequence[Path]) -> list[Group]:
    """Runs by their settings, in the order in which they were given."""
    groups: dict[str, tuple[list[Run], dict[str, Any]]] = {}
    for run in map(read, folders):
        settings = {key: value for key, value in leaves(run.config) if not _aside(key)}
        key = json.dumps(
            {key: value for key, value in settings.items() if not _repeats(key)}, sort_keys=True, default=str
        )
        groups.setdefault(key, ([], settings))[0].append(run)
    return [Group(runs, settings) for runs, settings in groups.values()]


def differing(groups: Sequence[Group]) -> list[str]:
    """The keys, other than seeds and folds, that are not the same in all groups."""
    keys = dict.fromkeys(key for group in groups for key in group.settings if not _repeats(key))
    return [key for key in keys if len({_shown(group, key) for group in groups}) > 1]


def repeated(groups: Sequence[Group]) -> dict[str, list[str]]:
    """The seeds and folds of each group, of those keys that have others in another group."""
    every = [[dict(leaves(run.config)) for run in group.runs] for group in groups]
    keys = dict.fromkeys(key for runs in every for run in runs for key in run if _repeats(key) and not _aside(key))
    found = {key: [", ".join(sorted(str(run.get(key, "not set")) for run in runs)) for runs in every] for key in keys}
    return {key: told for key, told in found.items() if len(set(told)) > 1}


def _shown(group: Group, key: str) -> str:
    return json.dumps(group.settings[key], default=str) if key in group.settings else "not set"


def setting(group: Group, key: str) -> str:
    """A setting as people type it.

    Example:
        >>> setting(Group([], {"optim.lr": 0.1}), "optim.lr")
        '0.1'
    """
    return _shown(group, key).strip('"')


def other_data(groups: Sequence[Group]) -> list[str]:
    """The keys that say which data were learned from, and differ."""
    return [key for key in differing(groups) if any(fnmatchcase(key, pattern) for pattern in _SOURCE)]


def _aside(key: str) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in _ASIDE)


def _repeats(key: str) -> bool:
    return key.rsplit(".", 1)[-1] in ("seed", "fold")
