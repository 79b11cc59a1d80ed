"""Runs defaults and experiments with several seeds or folds and prints the tables of docs/results.md.

Run: `uv run python scripts/benchmark_experiments.py --data-root DATA cora intents mutag` or `--all` (hours on two CPU
cores). Runs that the output folder holds already are not run again, so an interrupted table goes on where it stopped;
`--kept` runs nothing, and takes the runs that are there. `--table few_labels` prints several lines as one table, with
means and spreads. One thread a run is as fast as two on sets this small: set OMP_NUM_THREADS=1 and start two of these
at a time. Every run gets a `run.json`: command, commit, hardware, load and seconds of processor time.
"""

import argparse
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.experiments import RUNS, TABLES, Table


@dataclass(frozen=True)
class Place:
    """Where data lie and runs go.

    Args:
        data_root: the folder of data sets.
        output: the folder of runs.
        kept: whether runs that are not there are left out.
    """

    data_root: str
    output: Path
    kept: bool = False


def main() -> None:
    """Runs what is missing and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *RUNS], help="lines of the table; see --all")
    parser.add_argument("--all", action="store_true", help="every line")
    parser.add_argument("--table", choices=list(TABLES), help="several lines as one table")
    parser.add_argument("--kept", action="store_true", help="only the runs that are there")
    parser.add_argument("--data-root", required=True, help="the folder of data sets")
    parser.add_argument("--output", type=Path, default=Path("outputs/experiments"), help="where the runs go")
    given = parser.parse_args()
    place = Place(given.data_root, given.output, given.kept)
    names = list(RUNS) if given.all else given.names
    if names:
        print("| run | metric | mean | spread | runs | seconds of one | values |")
        print("|---|---|---|---|---|---|---|")
        for name in names:
            for line in rows(name, found(name, place)):
                print(line, flush=True)
    if given.table:
        table = TABLES[given.table]
        print("\n".join(side_by_side(table, place)))
        names = [*names, *(cell[0] for _, cells in table.rows for cell in cells if cell is not None)]
    print("\n".join(conditions(dict.fromkeys(names), place)))


def found(name: str, place: Place) -> list[dict[str, float]]:
    """The metrics of all runs of a line, or of those that are kept."""
    varied = RUNS[name].varied
    there = [each for each in varied if not place.kept or finished(folder(name, each, place.output))]
    return [numbers(name, each, place.data_root, place.output) for each in there]


def numbers(name: str, varied: str, data_root: str, output: Path) -> dict[str, float]:
    """The metrics of one run, which is run unless it is there."""
    run, into = RUNS[name], folder(name, varied, output)
    if not finished(into):
        command = [sys.executable, "-m", "omniformer.train", f"{run.group}={run.experiment}", f"data_root={data_root}"]
        if run.begins is not None:
            varied_there = RUNS[run.begins].varied
            first = varied if varied in varied_there else varied_there[0]
            numbers(run.begins, first, data_root, output)
            command.append(f"model.pretrained={folder(run.begins, first, output)}")
        command += [f"paths.output_dir={into}", *run.fixed, varied]
        measured(command, into)
    return json.loads((into / "metrics.json").read_text(encoding="utf-8"))


def measured(command: Sequence[str], into: Path) -> None:
    """Runs a command, and writes beside its results what it was, where and how long it ran."""
    before, used = os.getloadavg()[0], resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=sys.stderr)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    told = {
        "command": " ".join(command[1:]),
        "commit": commit.stdout.strip() or "unknown",
        "hardware": f"{os.cpu_count()} cores of {processor()}, "
        f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}, "
        f"Python {platform.python_version()}, torch {version('torch')}",
        "load": [round(before, 1), round(os.getloadavg()[0], 1)],
        "processor_seconds": round(now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime),
    }
    (into / "run.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def processor() -> str:
    """What the machine computes with."""
    try:
        said = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        said = ""
    named = re.search(r"^model name\s*:\s*(.*)$", said, re.MULTILINE)
    return named[1] if named else platform.processor() or platform.machine()


def folder(name: str, varied: str, output: Path) -> Path:
    """The folder of one run."""
    return output / name / varied.replace("=", "-")


def finished(run: Path) -> bool:
    """Whether a run ended with a model."""
    return (run / "model" / "config.json").is_file()


def rows(name: str, runs: Sequence[dict[str, float]]) -> list[str]:
    """The rows of a line: its metrics, and behind each what simple methods have of it."""
    said = []
    for metric in RUNS[name].metrics if runs else ():
        said.append(row(name, metric, runs))
        simple = [each for each in runs[0] if each.startswith("baseline/") and each.endswith(f"/{metric}")]
        said += [row(name, each, [run for run in runs if each in run]) for each in simple]
    return said


def row(name: str, metric: str, runs: Sequence[dict[str, float]]) -> str:
    """One line: mean, spread (largest less smallest) and the values themselves."""
    values = [one[metric] for one in runs]
    seconds = statistics.median(one["train/seconds"] for one in runs)
    each = ", ".join(f"{value:.4f}" for value in values)
    mean, spread = statistics.mean(values), max(values) - min(values)
    return f"| {name} | {metric} | {mean:.4f} | {spread:.4f} | {len(values)} | {seconds:.0f} | {each} |"


def side_by_side(table: Table, place: Place) -> list[str]:
    """The lines of a table: means, with the spread in brackets, and how many runs where not all are there."""
    said = ["| | " + " | ".join(table.columns) + " |", "|---" * (len(table.columns) + 1) + "|"]
    for title, cells in table.rows:
        said.append("| " + " | ".join([title, *(_cell(each, place) for each in cells)]) + " |")
    return said


def _cell(cell: tuple[str, str] | None, place: Place) -> str:
    values = [] if cell is None else [one[cell[1]] for one in found(cell[0], place)]
    if not values:
        return ""
    spread = f"{max(values) - min(values):.3f}" if len(values) > 1 else "one run"
    return f"{statistics.mean(values):.3f} ({spread}{f', {len(values)} runs' if 1 < len(values) < 3 else ''})"


def conditions(names: Sequence[str] | dict[str, None], place: Place) -> list[str]:
    """Of which commit and on what the runs of these lines are, how busy it was, and what they took."""
    told: dict[str, list[dict[str, object]]] = {}
    without = 0
    for name in names:
        for varied in RUNS[name].varied:
            path = folder(name, varied, place.output) / "run.json"
            if path.is_file():
                one = json.loads(path.read_text(encoding="utf-8"))
                told.setdefault(f"commit {one['commit']}, {one['hardware']}", []).append({"name": name, **one})
            elif finished(path.parent):
                without += 1
    said = [""]
    for where, runs in told.items():
        loads = [load for one in runs for load in one["load"]]  # pyright: ignore[reportGeneralTypeIssues]
        lines = ", ".join(dict.fromkeys(str(one["name"]) for one in runs))
        seconds = ", ".join(str(one.get("processor_seconds", "not known")) for one in runs)
        said.append(f"- {lines}: {where}, load {min(loads)} to {max(loads)}; processor seconds {seconds}")
    return said + ([f"- {without} runs without a run.json: of where and when nothing is known"] if without else [])


if __name__ == "__main__":
    main()
