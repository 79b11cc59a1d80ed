"""Writes the versions that were tested into pyproject.toml, exact and without an address, or checks that they hold.

    uv run python scripts/pin_versions.py            # resolves the newest versions within the ranges, and writes them
    uv run python scripts/pin_versions.py --check    # no network: this environment holds just what is written

The pins are `constraint-dependencies` of uv: `uv run` and `uv sync` obey them, wheels keep the ranges of
`dependencies`. They name everything that the extras and the development group bring, direct and not, for every platform
and Python. A lock file would do the same, and record where each file came from.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"\n# Tested together;[^\n]*\nconstraint-dependencies = \[\n.*?\n\]\n", re.DOTALL)
HEAD = "\n# Tested together; written by scripts/pin_versions.py, checked by .ci/run.\nconstraint-dependencies = [\n"
OURS = {"omniformer-framework", "omniformer-framework-tokenizers"}


def main(arguments: list[str] | None = None) -> None:
    """Writes the pins, or checks them.

    Raises:
        SystemExit: the environment differs from the pins; names each package.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare this environment with the pins")
    given = parser.parse_args(arguments)
    path = REPOSITORY / "pyproject.toml"
    if given.check:
        if faults := differences(pinned(path.read_text(encoding="utf-8")), installed()):
            raise SystemExit("\n".join(["this environment is not the one that was tested:", *faults]))
        print("the environment holds the versions of pyproject.toml")
        return
    lines = resolved()
    path.write_text(written(path.read_text(encoding="utf-8"), lines), encoding="utf-8")
    print(f"{len(lines)} pins written to {path.name}; now run the tests, then commit")


def pinned(settings: str) -> list[Requirement]:
    """The pins in the text of a pyproject.toml."""
    return [Requirement(each) for each in tomllib.loads(settings)["tool"]["uv"].get("constraint-dependencies", [])]


def installed() -> dict[str, str]:
    """Name and version of every distribution in this environment, ours left out."""
    found = {canonicalize_name(each.metadata["Name"]): each.version for each in distributions()}
    return {name: version for name, version in found.items() if name not in OURS}


def differences(pins: list[Requirement], versions: dict[str, str]) -> list[str]:
    """What an environment has that no pin names, and what it has in another version; one line each.

    Example:
        >>> differences([Requirement("torch==2.13.0")], {"torch": "2.15.0", "numpy": "2.4.0"})
        ['numpy 2.4.0: not pinned', 'torch 2.15.0: pinned to 2.13.0']
    """
    wanted: dict[str, list[Requirement]] = {}
    for pin in pins:
        if pin.marker is None or pin.marker.evaluate():
            wanted.setdefault(canonicalize_name(pin.name), []).append(pin)
    faults = []
    for name, version in sorted(versions.items()):
        if name not in wanted:
            faults.append(f"{name} {version}: not pinned")
        elif not any(pin.specifier.contains(version, prereleases=True) for pin in wanted[name]):
            faults.append(f"{name} {version}: pinned to {str(wanted[name][0].specifier).removeprefix('==')}")
    return faults


def resolved() -> list[str]:
    """The newest set of versions within the ranges, one requirement a line, for every platform and Python."""
    with TemporaryDirectory(prefix="omniformer-pins-") as temporary:
        folder = Path(temporary)
        settings = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
        (folder / "pyproject.toml").write_text(unpinned(settings), encoding="utf-8")
        (folder / "tokenizers").mkdir()
        shutil.copy(REPOSITORY / "tokenizers" / "pyproject.toml", folder / "tokenizers")
        uv("lock", "--upgrade", folder=folder)
        exported = uv(
            *("export", "--frozen", "--all-extras", "--all-groups", "--no-hashes", "--no-annotate", "--no-header"),
            *("--no-emit-workspace", "--no-emit-index-url", "--no-emit-find-links"),
            folder=folder,
        )
    lines = [line.strip() for line in exported.splitlines() if line.strip()]
    assert not any("://" in line for line in lines), "a pin must not say where a file comes from"
    return lines


def unpinned(settings: str) -> str:
    """The text of a pyproject.toml with its ranges alone."""
    return BLOCK.sub("", settings)


def written(settings: str, lines: list[str]) -> str:
    """The text of a pyproject.toml with these pins at the end of `[tool.uv]`."""
    block = f"{HEAD}{''.join(f'  {quoted(line)},{chr(10)}' for line in lines)}]\n"
    if BLOCK.search(settings):
        return BLOCK.sub(lambda _: block, settings)
    start = settings.index("[tool.uv]\n")
    end = settings.index("\n\n", start) + 1
    return settings[:end] + block + settings[end:]


def quoted(line: str) -> str:
    """A requirement as a TOML string; markers hold single quotes."""
    return '"' + line.replace('"', "'") + '"'


def uv_command() -> list[str]:
    """The `uv` of the surrounding `uv run`, or the module."""
    return [os.environ["UV"]] if "UV" in os.environ else [sys.executable, "-m", "uv"]


def uv(*arguments: str, folder: Path) -> str:
    """What a command of uv prints.

    Raises:
        SystemExit: it failed; shows what it said.
    """
    hidden = {"VIRTUAL_ENV", "UV_FROZEN", "UV_LOCKED"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run([*uv_command(), *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"uv {arguments[0]} failed:\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
