"""The comparison of runs: tables, curves in one picture, a test of two."""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from omniformer.compare.paired import Outcome, paired
from omniformer.compare.runs import Group, differing, other_data, repeated, setting
from omniformer.files.untrusted import no_formula
from omniformer.pages.blocks import Block, Picture, Section, Table, Words
from omniformer.report.charts import curves
from omniformer.report.run import Run, predictions
from omniformer.report.writing import KINDS
from omniformer.training.results import format_number, ordered

_SCORES = ("test", "best", "val")
_LETTERS = 40


def compared(groups: Sequence[Group]) -> list[Section]:
    """All that is said, without pictures."""
    names = labels(groups)
    warnings = [Words(each) for each in not_comparable(groups)]
    settings = differing(groups)
    rows = [[key, *(setting(group, key)[:_LETTERS] for group in groups)] for key in settings]
    rows += [[key, *(each[:_LETTERS] for each in told)] for key, told in repeated(groups).items()]
    told: list[Block] = [Table(["setting", *names], rows)] if rows else [Words("Seeds and folds alone.")]
    return [
        *([Section("Not comparable", warnings)] if warnings else []),
        Section("What differs", told),
        Section("Scores", [Table(["metric", *names], scores(groups))]),
        *_tested(groups),
    ]


def labels(groups: Sequence[Group]) -> list[str]:
    """A short name for each group: that of the run, its folder where several runs have it, and how many runs it is."""
    names = [group.runs[0].name for group in groups]
    folders = [str(group.runs[0].folder) for group in groups]
    shown = names if len(set(names)) == len(names) else folders
    return [
        name if len(group.runs) == 1 else f"{name} ({len(group.runs)} runs)"
        for name, group in zip(shown, groups, strict=True)
    ]


def not_comparable(groups: Sequence[Group]) -> list[str]:
    """Why scores do not compare, as sentences: they learned from other data, or were measured on other samples."""
    keys = other_data(groups)
    if not keys:
        return []
    return [f"The runs read other data: {', '.join(keys[:4])} differ, so that their scores are of different questions."]


def scores(groups: Sequence[Group]) -> list[list[str]]:
    """One row a metric: the mean of each group, with its deviation where there are several runs."""
    return [[name, *(_told(name, group) for group in groups)] for name in _metrics(groups)]


def _metrics(groups: Sequence[Group]) -> list[str]:
    every = dict.fromkeys(name for group in groups for run in group.runs for name in run.numbers)
    wanted = [name for name in every if set(name.split("/")) & {*_SCORES} or name in ("parameters", "train/seconds")]
    return ordered(wanted, main=_watched(groups))


def _watched(groups: Sequence[Group]) -> str:
    """The metric that the best checkpoints followed."""
    names = (name for group in groups for name in group.runs[0].numbers)
    return next((name.removeprefix("best/") for name in names if name.startswith("best/")), "val/loss")


def _told(name: str, group: Group) -> str:
    found = group.told(name)
    if found is None:
        return ""
    mean, deviation = found
    return format_number(name, mean) + ("" if deviation is None else f" ± {format_number(name, deviation)}")


def table(groups: Sequence[Group]) -> str:
    """The same as CSV for programs: a row a group, its settings that differ, then mean, deviation and count of each
    metric.
    """
    keys, metrics = differing(groups), _metrics(groups)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["runs", *keys, *(f"{name}{part}" for name in metrics for part in ("", " std", " n"))])
    for group in groups:
        cells: list[object] = []
        for name in metrics:
            mean, deviation = group.told(name) or ("", "")
            cells += [mean, "" if deviation is None else deviation, len(group.numbers(name))]
        folders = " ".join(str(run.folder) for run in group.runs)
        writer.writerow(map(no_formula, [folders, *(setting(group, key) for key in keys), *cells]))
    return stream.getvalue()


def drawn(groups: Sequence[Group]) -> Section | None:
    """The curve of the watched metric and of the loss, a line a group; the mean where it has several runs."""
    pictures: list[Block] = []
    for name in dict.fromkeys([_watched(groups), "val/loss", "train/loss"]):
        lines = {label: _mean(group, name) for label, group in zip(labels(groups), groups, strict=True)}
        if lines := {label: line for label, line in lines.items() if len(line) > 1}:
            pictures.append(Picture(curves(lines), name, small=True))
    return Section("Curves", pictures) if pictures else None


def _mean(group: Group, name: str) -> Mapping[int, float]:
    """The mean over the runs of a group, at the steps that all of them have."""
    every = [run.curves[name] for run in group.runs if name in run.curves]
    return {
        step: fmean(each[step] for each in every)
        for step in (every[0] if every else ())
        if all(step in each for each in every)
    }


def _tested(groups: Sequence[Group]) -> list[Section]:
    """A paired test of two groups, by member."""
    if len(groups) != 2:
        return []
    first, second = ([_scored(run) for run in group.runs] for group in groups)
    rows, told = [], []
    without = [str(run.folder) for group in groups for run in group.runs if not predictions(run.folder)[0]]
    if without:
        told.append(Words(f"There is no paired test, since {', '.join(without)} kept no predictions.jsonl."))
    for member in dict.fromkeys(name for run in first for name in run if not without):
        outcome = _outcome(member, first, second)
        if isinstance(outcome, str):
            told.append(Words(outcome))
        else:
            interval = f"{outcome.difference:+.4f} ({outcome.low:+.4f} to {outcome.high:+.4f})"
            rows.append([member, f"{outcome.n:,}", interval, f"{outcome.p:.4g}", outcome.test])
    header = ["member", "samples", "second less first, 95 %", "p", "test"]
    caption = (
        "Of each sample of the test split: 1 where it is right, 0 where it is wrong; of numbers the error, negative"
    )
    blocks = [*([Table(header, rows, caption)] if rows else []), *told]
    return [Section("Is it chance?", blocks)] if blocks else []


def _outcome(member: str, first: Sequence[Mapping], second: Sequence[Mapping]) -> Outcome | str:
    runs = [run.get(member, {}) for run in (*first, *second)]
    keys = {key for run in runs for key in run}
    shared = [key for key in runs[0] if all(key in run for run in runs)]
    if len(shared) < len(keys):
        apart = len(keys) - len(shared)
        return (
            f"{member}: {apart:,} of {len(keys):,} samples of the test splits are not in all of these runs, or have "
            "other targets there; their predictions cannot be paired."
        )
    means = [[fmean(run[member][key] for run in group) for key in shared] for group in (first, second)]
    return paired(*means)


def _scored(run: Run) -> dict[str, dict[tuple[str, str], float]]:
    """By member the score of each sample of the test split, which its id and target name; what has none is left out."""
    found: defaultdict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    for (split, member), rows in predictions(run.folder)[0].items():
        if split == "test":
            kind = next(kind for kind in KINDS if kind.fits(rows[0]))
            scored = ((row, kind.score(row)) for row in rows)
            found[member] = {(row["id"], str(row["target"])): score for row, score in scored if not math.isnan(score)}
    return found
