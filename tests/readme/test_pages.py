"""What the other pages promise: their commands exist, their links lead somewhere, their lists are whole."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from omniformer.command import VERBS
from omniformer.config.folder import conf_dir
from omniformer.config.overrides import group_options
from omniformer.help import main as ask
from omniformer.train import main as train

REPOSITORY = Path(__file__).parents[2]
PAGES = {path: path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "docs").rglob("*.md"))}
TASKS = PAGES[REPOSITORY / "docs" / "tasks.md"]
CARDS = {name: PAGES[REPOSITORY / "docs" / name] for name in ("data.md", "data_sets.md")}
WITH_COMMANDS = ["index.md", "tasks.md", "data.md", "training.md", "pretrained.md", "parallel.md", "scale.md"]
WITH_COMMANDS += [f"tutorials/{path.name}" for path in PAGES if path.parent.name == "tutorials"]
COMMANDS = [
    line.split("  #")[0]
    for name in WITH_COMMANDS
    for line in re.findall(
        r"^ {4,}(?:.*-m omniformer\.train|omniformer train|sbatch .*slurm\.sh) (.*)$",
        PAGES[REPOSITORY / "docs" / name],
        re.MULTILINE,
    )
    if "<" not in line and "--config-dir" not in line  # which holds experiments of one's own
]


@pytest.mark.quick(8)
@pytest.mark.parametrize("command", dict.fromkeys(COMMANDS))
def test_every_training_command_composes_and_is_valid(command, capsys):
    if command.startswith("-m "):  # of a sweep, its first run
        command = re.sub(r"=tag\(log,interval\(([^,]+),[^)]+\)\)", r"=\1", command.removeprefix("-m "))
        command = re.sub(r"(=[^,\s]+),\S+", r"\1", command)
    train([*shlex.split(command), "--cfg", "job"])
    assert "_target_: omniformer" in capsys.readouterr().out


def test_every_group_option_and_first_part_of_a_key_in_a_training_command_is_there():
    groups = group_options([conf_dir()])
    known = {*groups, "hydra", *yaml.safe_load((conf_dir() / "train.yaml").read_text(encoding="utf-8"))}
    words = [word.lstrip("+~").partition("=") for command in COMMANDS for word in shlex.split(command) if "=" in word]
    assert {name for name, _, _ in words if name not in known and re.split("[./@]", name)[0] not in known} == set()
    options = {(group, name) for group, _, names in words if group in groups for name in names.split(",")}
    assert len(options) > 50
    assert {(group, name) for group, name in options if name not in (*groups[group], "null", "none")} == set()


def test_the_page_of_the_command_line_names_every_verb_and_its_module():
    page = PAGES[REPOSITORY / "docs" / "command_line.md"]
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| `python -m omniformer\.(\w+)` \|$", page, flags=re.MULTILINE)
    assert rows == [(verb, where.removeprefix("omniformer.").partition(".")[0]) for verb, where in VERBS.items()]


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "line", re.findall(r"^    omniformer help (.*)$", PAGES[REPOSITORY / "docs" / "command_line.md"], re.MULTILINE)
)
def test_every_question_of_the_page_has_an_answer(line, capsys):
    ask(shlex.split(line))
    said = capsys.readouterr().out
    assert said.startswith(line.split()[0])
    if line == "optim.lr":  # the page shows it
        shown = PAGES[REPOSITORY / "docs" / "command_line.md"].replace("\n    ", "\n")
        assert without_lines(said.strip()) in without_lines(shown)


def without_lines(said: str) -> str:
    """What is said without the numbers of lines of sources, which move with every change above them."""
    return re.sub(r"(\.(?:py|yaml)):\d+", r"\1", said)


def anchors(page: str) -> set[str]:
    """Where the headings of a page can be linked to."""
    headings = re.findall(r"^#+ (.*)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", [*PAGES, REPOSITORY / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(path):
    for target, anchor in re.findall(r"\]\(((?!https?:)[^)#]*)(?:#([^)]+))?\)", path.read_text(encoding="utf-8")):
        linked = path.parent / target if target else path
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked.read_text(encoding="utf-8")), anchor


def test_every_task_has_a_row_that_names_its_class_and_head():
    rows = {}
    for names, task, head in re.findall(r"^\| (`[^|]*`) \| `(\w+)` \| [^|]* \| ([^|]*) \|", TASKS, flags=re.MULTILINE):
        rows |= dict.fromkeys(re.findall(r"`(\w+)`", names), (task, head))
    described = {path.stem: yaml.safe_load(path.read_text()) for path in (REPOSITORY / "conf" / "task").glob("*.yaml")}
    assert sorted(rows) == sorted(described)
    for name, (task, head) in rows.items():
        assert described[name]["_target_"].rpartition(".")[2] == task
        assert described[name]["head"]["_target_"].rpartition(".")[2] in head


def test_every_set_has_a_card():
    named = {name for page in CARDS.values() for name in re.findall(r"data=(\w+)", page)}
    assert {path.stem for path in (REPOSITORY / "conf" / "data").glob("*.yaml")} <= named


def test_the_table_of_sets_names_each_card_once():
    page = CARDS["data_sets.md"]
    table = re.findall(r"^\| \[`(\w+)`\]\(#([^)]+)\)", page, flags=re.MULTILINE)
    cards = re.findall(r"^### `data=(\w+)`", page, flags=re.MULTILINE)
    assert [name for name, _ in table] == cards


UNPREPARED = re.sub(r"^.*--config-dir.*$", "", "".join(PAGES.values()), flags=re.MULTILINE)  # which name one's own


@pytest.mark.parametrize("name", sorted(set(re.findall(r"experiment=(\w+)", UNPREPARED))))
def test_experiments_that_pages_name_exist(name):
    assert (REPOSITORY / "conf" / "experiment" / f"{name}.yaml").is_file()
