"""One command: its verbs, its versions, and what it says of a verb that there is not."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import omniformer
from omniformer.command import VERBS, main

SCRIPT = Path(sys.executable).with_name("omniformer")


def test_help_lists_every_verb_with_a_line(capsys):
    main(["--help"])
    said = capsys.readouterr().out.splitlines()
    for verb in VERBS:
        (line,) = [line for line in said if line.startswith(f"  {verb} ")]
        assert line.endswith(".")
        assert len(line.split(maxsplit=1)[1]) > 20


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_every_command_says_our_version(verb, capsys):
    with suppress(SystemExit):
        main([*([verb] if verb else []), "--version"])
    assert capsys.readouterr().out.startswith(f"omniformer {omniformer.__version__} (torch ")


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_names_the_command_that_was_called(verb, capsys):
    with suppress(SystemExit):
        main([verb, "--help"])
    assert f"usage: omniformer {verb} " in capsys.readouterr().out


def test_a_misspelt_verb_gets_the_nearest_and_status_two(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["predcit", "run"])
    assert stop.value.code == 2
    told = "'predcit' is no verb of omniformer; did you mean predict? accepted: prepare, tokenize, train, "
    assert told in capsys.readouterr().err


def test_without_a_verb_the_help_is_shown_and_nothing_succeeds(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert "usage: omniformer VERB" in capsys.readouterr().out


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("command", "name"),
    [
        ([SCRIPT, "predict"], "omniformer predict"),
        ([sys.executable, "-m", "omniformer", "predict"], "python -m omniformer predict"),
        ([sys.executable, "-m", "omniformer.predict"], "python -m omniformer.predict"),
        ([sys.executable, "-m", "omniformer", "train"], "python -m omniformer train"),
        ([sys.executable, "-m", "omniformer.train"], "python -m omniformer.train"),
        ([SCRIPT], "omniformer VERB"),
    ],
)
def test_a_usage_line_says_how_the_command_was_called(command, name, tmp_path):
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert f"usage: {name} " in done.stdout


@pytest.mark.slow
def test_processes_for_further_devices_are_started_with_the_verb(tmp_path):
    # What lightning starts them with is sys.argv.
    code = (
        "import sys, types\n"
        "train = lambda config: print('started with', sys.argv[1:])\n"
        "sys.modules['omniformer.experiment'] = types.SimpleNamespace(train=train)\n"
        "from omniformer.command import main\n"
        "sys.argv[1:] = ['train', 'modality=text', 'seed=3']\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert "started with ['train', 'modality=text', '++seed=3']" in done.stdout, done.stderr
