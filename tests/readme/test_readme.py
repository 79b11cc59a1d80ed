"""What the README promises: its commands are the ones that exist."""

import re
import shlex
from pathlib import Path

import pytest

from omniformer.export.__main__ import build_parser as export_parser
from omniformer.generate import build_parser
from omniformer.train import main as train

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    match.group(1).split("#")[0].strip(" |`")
    for match in re.finditer(r"python -m omniformer\.train ([^\n|]*)", README)
    if "-m modality" not in match.group(1)
]


@pytest.mark.parametrize("command", dict.fromkeys(COMMANDS))
def test_every_training_command_of_the_readme_composes_and_is_valid(command, capsys):
    train([*shlex.split(command), "--cfg", "job"])
    assert "modality" in command or "experiment" in command
    assert "_target_: omniformer" in capsys.readouterr().out


def test_the_second_line_of_code_is_the_test_command_that_ci_calls():
    _, tests = re.findall(r"^    (python3 -m pip .*)$", README, flags=re.MULTILINE)
    assert tests in (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", re.findall(r"^    python -m omniformer\.generate (.*)$", README, flags=re.MULTILINE))
def test_every_generating_command_of_the_readme_is_understood(line):
    assert build_parser().parse_intermixed_args(shlex.split(line)).run.startswith(("outputs/", "models/"))


@pytest.mark.parametrize("line", re.findall(r"^    python -m omniformer\.export (.*)$", README, flags=re.MULTILINE))
def test_every_exporting_command_of_the_readme_is_understood(line):
    assert export_parser().parse_args(shlex.split(line, comments=True)).run.startswith("outputs/")


@pytest.mark.parametrize("page", sorted(set(re.findall(r"\]\(((?:docs/)?[\w./]+\.md)\)", README))))
def test_pages_that_the_readme_links_exist(page):
    assert (REPOSITORY / page).is_file()


def test_the_tree_names_folders_that_exist():
    tree = README.split("```")[-2] if "omniformer/            the framework" in README.split("```")[-2] else README
    for name in re.findall(r"^  ([a-z_]+)/", tree, flags=re.MULTILINE):
        assert (REPOSITORY / "omniformer" / name).is_dir(), name
