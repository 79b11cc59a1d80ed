"""What the README promises: its commands are the ones that exist."""

import re
import shlex
from pathlib import Path

import pytest

from omniformer.evaluate import build_parser as evaluate_parser
from omniformer.export.__main__ import build_parser as export_parser
from omniformer.generate import build_parser
from omniformer.help import main as ask
from omniformer.predict import build_parser as predict_parser
from omniformer.train import main as train

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
# Either spelling: `python -m omniformer.train` or `omniformer train`.
COMMANDS = [
    match.group(1).split("#")[0].strip(" |`")
    for match in re.finditer(r"(?:python -m omniformer\.|\bomniformer )train ([a-z][^\n|`]*)", README)
]


@pytest.mark.quick(4)
@pytest.mark.parametrize("command", dict.fromkeys(COMMANDS))
def test_every_training_command_of_the_readme_composes_and_is_valid(command, capsys):
    train([*shlex.split(command), "--cfg", "job"])
    assert "modality" in command or "experiment" in command
    assert "_target_: omniformer" in capsys.readouterr().out


def test_the_second_line_of_code_is_the_test_command_that_ci_calls():
    _, tests = re.findall(r"^    (python3 -m pip .*)$", README, flags=re.MULTILINE)
    assert tests in (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")


def lines(verb: str) -> list[str]:
    """The arguments of a verb, wherever the README shows it in either spelling."""
    found = re.findall(rf"^    (?:python -m omniformer\.|omniformer ){verb} (.*)$", README, flags=re.MULTILINE)
    assert found, verb
    return found


@pytest.mark.parametrize("line", lines("generate"))
def test_every_generating_command_of_the_readme_is_understood(line):
    assert build_parser().parse_intermixed_args(shlex.split(line)).run.startswith(("outputs/", "models/"))


@pytest.mark.parametrize(
    ("build", "line"),
    [
        *((predict_parser, line) for line in lines("predict")),
        *((evaluate_parser, line) for line in lines("evaluate")),
    ],
)
def test_every_measuring_command_of_the_readme_is_understood(build, line):
    assert build().parse_args(shlex.split(line)).run.startswith("outputs/")


@pytest.mark.quick(1)
@pytest.mark.parametrize("line", lines("help"))
def test_every_question_of_the_readme_has_an_answer(line, capsys):
    ask(shlex.split(line))
    assert capsys.readouterr().out.startswith(line.split()[0])


@pytest.mark.parametrize("line", lines("export"))
def test_every_exporting_command_of_the_readme_is_understood(line):
    assert export_parser().parse_args(shlex.split(line, comments=True)).run.startswith("outputs/")


@pytest.mark.parametrize("page", sorted(set(re.findall(r"\]\(((?:docs/)?[\w./]+\.md)\)", README))))
def test_pages_that_the_readme_links_exist(page):
    assert (REPOSITORY / page).is_file()
