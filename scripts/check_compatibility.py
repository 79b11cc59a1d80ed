"""Runs tests on other versions than the pinned ones, and prints a Markdown table of what passed.

    uv run python scripts/check_compatibility.py                                # the quick tests on every set below
    uv run python scripts/check_compatibility.py tests/config tests/core/rules  # these tests alone
    uv run python scripts/check_compatibility.py --sets 3.12:newest 3.11:lowest

A set is a Python and what is installed for it: `newest` and `lowest` are the newest releases that the ranges of both
pyproject.toml admit and the lowest of what they name (`--resolution lowest-direct` of uv), `2.13` the newest with that
torch. Each runs in a copy of this repository in a temporary folder, with an environment of its own, without the pins.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pin_versions

REPOSITORY = pin_versions.REPOSITORY
SETS = ("3.11:newest", "3.12:newest", "3.13:newest", "3.14:newest", "3.11:lowest", "3.12:2.13", "3.12:2.14")
LIBRARIES = ("torch", "torchvision", "torchaudio", "lightning", "torch-geometric")
COLUMNS = ("python", "set", "torch", "torchvision", "torchaudio", "lightning", "PyG")
HEAD = f"| {' | '.join([*COLUMNS, 'passed', 'failed', 'skipped', 'seconds', 'what failed'])} |"


@dataclass
class Outcome:
    """What the tests said on one set; an error is why they did not run."""

    versions: dict[str, str] = field(default_factory=dict)
    passed: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a row as soon as its set is through.

    Returns:
        Exit status: 1 if a test failed, or a set could not be installed.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*", help="files or folders of tests (default: all quick tests)")
    parser.add_argument(
        "--sets", nargs="+", type=named, default=[named(each) for each in SETS], help=f"default: {' '.join(SETS)}"
    )
    parser.add_argument("--processes", default="auto", help="of pytest for each set (default: one a core)")
    given = parser.parse_args(arguments)
    print(f"{HEAD}\n|{'---|' * HEAD.count(' | ')}---|", flush=True)
    outcomes = []
    for python, which in given.sets:
        outcomes.append(tried(python, which, given.tests, given.processes))
        print(row(python, which, outcomes[-1]), flush=True)
    return int(any(outcome.failed or outcome.error for outcome in outcomes))


def named(text: str) -> tuple[str, str]:
    """Python and set of `3.12:newest`.

    Raises:
        ArgumentTypeError: it is not of that form.
    """
    python, colon, which = text.partition(":")
    if not colon or not (which in ("newest", "lowest") or which.replace(".", "").isdigit()):
        raise argparse.ArgumentTypeError(f"{text} is no set; write 3.12:newest, 3.12:lowest or 3.12:2.14 (a torch)")
    return python, which


def tried(python: str, which: str, tests: Sequence[str], processes: str) -> Outcome:
    """Installs a set in a copy of the repository, and runs the tests there."""
    with TemporaryDirectory(prefix="omniformer-compatibility-") as temporary:
        folder = Path(temporary) / "repository"
        copied(folder, which)
        resolution = ["--resolution", "lowest-direct"] if which == "lowest" else []
        done = uv("sync", "-q", "--python", python, *resolution, folder=folder)
        if done.returncode:
            return Outcome(error=reason(done.stderr))
        listed = uv("pip", "list", "-q", "--format", "json", folder=folder).stdout
        versions = {each["name"]: each["version"] for each in json.loads(listed)}
        start = time.monotonic()
        report = Path(temporary) / "report.xml"
        done = uv(
            *("run", "--no-sync", "python", "-m", "pytest", "-q", "-n", processes, f"--junit-xml={report}", *tests),
            folder=folder,
        )
        print(done.stdout + done.stderr if done.returncode else "", file=sys.stderr, end="")
        if not report.exists():
            return Outcome(versions, error=reason(done.stdout + done.stderr))
        outcome = read(report.read_text(encoding="utf-8"))
        outcome.versions, outcome.seconds = versions, time.monotonic() - start
        return outcome


def copied(folder: Path, which: str) -> None:
    """Copies what belongs to the repository; its ranges stay, its pins go."""
    command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    settings = folder / "pyproject.toml"
    text = pin_versions.unpinned(settings.read_text(encoding="utf-8"))
    if which not in ("newest", "lowest"):
        text = pin_versions.written(text, [f"torch=={which}.*"])
    settings.write_text(text, encoding="utf-8")


def uv(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command of uv in a folder, which has an environment of its own."""
    hidden = {"VIRTUAL_ENV", "UV_FROZEN", "UV_LOCKED", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [*pin_versions.uv_command(), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def reason(said: str) -> str:
    """The last line of an error, which names the cause."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return (lines[-1] if lines else "no message").replace("|", "/")


def read(report: str) -> Outcome:
    """Counts the tests of a JUnit report, and names those that failed.

    Example:
        >>> read('<testsuite><testcase classname="a" name="b"><failure/></testcase><testcase/></testsuite>')
        Outcome(versions={}, passed=1, skipped=0, failed=['a::b'], seconds=0.0, error='')
    """
    outcome = Outcome()
    for case in ElementTree.fromstring(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed.append(f"{case.get('classname')}::{case.get('name')}")
        elif case.find("skipped") is not None:
            outcome.skipped += 1
        else:
            outcome.passed += 1
    return outcome


def row(python: str, which: str, outcome: Outcome) -> str:
    """A set as a row of the table."""
    versions = [outcome.versions.get(name, "") for name in LIBRARIES]
    if outcome.error:
        return f"| {' | '.join([python, which, *versions, '', '', '', '', f'not run: {outcome.error}'])} |"
    counts = [outcome.passed, len(outcome.failed), outcome.skipped, round(outcome.seconds)]
    return f"| {' | '.join([python, which, *versions, *map(str, counts), ', '.join(outcome.failed)])} |"


if __name__ == "__main__":
    sys.exit(main())
