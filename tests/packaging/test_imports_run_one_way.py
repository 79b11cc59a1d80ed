"""Who may import whom: the contracts of pyproject.toml, and those that a linter of modules cannot see."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def test_the_contracts_of_import_linter_are_kept():
    # In a process of its own: it silences every logger that is there.
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    found = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def imported(path: Path) -> set[str]:
    """The top packages that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py"))]


@pytest.mark.slow
def test_only_the_command_line_knows_hydra():
    knowing = {path for path in files("omniformer") if imported(path) & {"hydra", "omegaconf"}}
    allowed = ("config/cli.py", "config/composing.py", "config/messages.py")
    # A sweeper of Hydra's, and known sets outside of a run, whose files are configurations.
    allowed += ("training/study.py", "data/by_name.py")
    assert knowing == {REPOSITORY / "omniformer" / name for name in allowed}


def test_the_core_needs_torch_einops_and_annotated_types_only():
    allowed = {"torch", "einops", "annotated_types", "omniformer", *sys.stdlib_module_names}
    assert {path: foreign for path in files("omniformer/core") if (foreign := imported(path) - allowed)} == {}
