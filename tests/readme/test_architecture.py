"""What the page about the rooms and that for newcomers promise: what they name is there, and no room is left out."""

import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

import pytest

from omniformer.command import VERBS
from omniformer.help import main as ask
from omniformer.inspect import main as inspect
from omniformer.train import main as train

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
AGENTS = (REPOSITORY / "AGENTS.md").read_text(encoding="utf-8")
TOKENIZERS = "tokenizers/omniformer_tokenizers"
# Each with what is written below its heading; the rest of the page under the package itself.
ROOMS = dict(re.findall(r"^### `([^`]+)`\n(.*?)(?=^##)", PAGE, flags=re.DOTALL | re.MULTILINE))
REST = re.sub(r"^### .*?(?=^## )", "", PAGE, flags=re.DOTALL | re.MULTILINE)


def names(text: str) -> list[str]:
    """What a text names between backticks that looks like a file or a folder."""
    quoted = re.findall(r"`([^`\n]+)`", text)
    return [name for name in quoted if re.fullmatch(r"[\w./-]+(?:/|\.(?:py|md|toml|yaml))|\.ci/run", name)]


def is_there(name: str, room: str) -> bool:
    """Whether a file or folder stands in a room, or anywhere from the root on."""
    return any((REPOSITORY / base / name).exists() for base in (room, "."))


def packages(root: str) -> list[str]:
    return [f"{root}/{path.parent.name}" for path in sorted((REPOSITORY / root).glob("*/__init__.py"))]


@cache
def classes() -> set[str]:
    sources = [path for root in ("omniformer", TOKENIZERS) for path in (REPOSITORY / root).rglob("*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    return set(re.findall(r"^class (\w+)", code, flags=re.MULTILINE))


@pytest.mark.parametrize("room", ROOMS)
def test_every_file_that_a_room_names_is_there(room):
    assert (REPOSITORY / room).is_dir()
    assert names(ROOMS[room]), "a room without a file to open first"
    assert [name for name in names(ROOMS[room]) if not is_there(name, room)] == []


def test_every_file_that_the_rest_of_the_page_names_is_there():
    assert [name for name in names(REST) if not is_there(name, "omniformer")] == []


@pytest.mark.parametrize("root", ["omniformer", TOKENIZERS])
def test_every_room_has_a_section(root):
    assert [package for package in packages(root) if package not in ROOMS] == []


def test_every_single_file_between_the_rooms_is_named():
    files = {path.name for path in (REPOSITORY / "omniformer").glob("*.py")} - {"__init__.py", "__main__.py"}
    assert files - set(names(ROOMS["omniformer"])) == set()


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "omniformer"])
def test_a_section_says_what_comes_in_and_out_where_to_begin_and_how_to_add_one(room):
    for promise in (r"\*\*In\b", r"\bout:\*\*|\*\*Out:\*\*", r"\*\*Open first:\*\*", r"\*\*Add \w"):
        assert re.search(promise, ROOMS[room]), promise


@pytest.mark.parametrize("room", ROOMS)
def test_classes_that_a_room_names_stand_in_the_code(room):
    assert set(re.findall(r"`([A-Z]\w*[a-z]\w*)`", ROOMS[room])) - classes() == set()


def test_newcomers_are_told_of_files_that_are_there_in_a_page_that_is_short():
    assert len(AGENTS.splitlines()) <= 60
    assert [name for name in names(AGENTS) if not is_there(name, ".")] == []
    assert [package for package in packages("omniformer") if f"`{package}/`" not in AGENTS] == []


COMMANDS = [line.split("  #")[0].strip() for line in re.findall(r"^    (\S.*)$", AGENTS, flags=re.MULTILINE)]
TOOLS = {"mkdocs", "pytest", "ruff", "pyright", "lint-imports", "python", "omniformer"}


@pytest.mark.parametrize("words", [shlex.split(each) for line in COMMANDS for each in line.split(" && ")], ids=" ".join)
def test_every_command_for_newcomers_exists(words):
    if words[:2] == ["uv", "run"]:
        tool = words[4] if words[2] == "--group" else words[2]
        assert tool in TOOLS
    else:
        assert words in (["uv", "sync"], ["bash", ".ci/run"])
    for word in words:
        assert "/" not in word or (REPOSITORY / word).exists(), word


@pytest.mark.quick(2)
@pytest.mark.parametrize("line", re.findall(r"uv run omniformer (.*?)(?:  #|$)", AGENTS, flags=re.MULTILINE))
def test_the_commands_of_the_framework_are_understood(line, capsys):
    verb, *arguments = shlex.split(line)
    assert verb in VERBS
    run = {"train": train, "help": ask, "inspect": inspect}[verb]
    run(arguments if verb != "train" or "--cfg" in arguments else [*arguments, "--cfg", "job"])
    assert capsys.readouterr().out


def test_the_marks_that_newcomers_are_told_of_are_those_of_the_suite():
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]
    marks = {mark.split(":")[0] for mark in settings["ini_options"]["markers"]}
    assert set(re.findall(r"-m (\w+)", AGENTS)) <= marks
