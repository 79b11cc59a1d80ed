import subprocess
import sys

import pytest

from omniformer.config import BuildError, ConfigError, reported


def ends(error, cause=None):
    with pytest.raises(SystemExit) as caught, reported():
        raise error from cause
    return caught.value.code


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ConfigError(["seed: wrong"]), 2, "error: seed: wrong\n"),
        (BuildError("core: wrong"), 1, "error: core: wrong\n"),
        (FileNotFoundError(2, "No such file or directory", "pictures"), 1, "'pictures'"),
    ],
)
def test_what_the_user_can_mend_is_one_message_and_a_status(error, status, text, capsys):
    assert ends(error) == status
    printed = capsys.readouterr()
    assert text in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


def test_a_refusal_by_our_own_code_is_a_message():
    from omniformer.batch import collate

    with pytest.raises(SystemExit) as caught, reported():
        collate([])
    assert caught.value.code == 1


def test_notes_are_part_of_the_message(capsys):
    error = FileNotFoundError("no folder 'a'")
    error.add_note("while building data")
    ends(error)
    assert "no folder 'a'; while building data" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ValueError, match="invalid literal"), reported():
        int("not ours")
    with pytest.raises(RuntimeError), reported():
        raise RuntimeError("bug")


def test_on_request_everything_keeps_its_traceback(monkeypatch):
    monkeypatch.setenv("OMNIFORMER_TRACEBACK", "1")
    with pytest.raises(ConfigError), reported():
        raise ConfigError(["seed: wrong"])


def test_interrupts_end_with_the_status_of_shells():
    assert ends(KeyboardInterrupt()) == 130


def test_lightnings_answer_to_an_interrupt_ends_the_same_way():
    def lightning():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    with pytest.raises(SystemExit) as caught, reported():
        lightning()
    assert caught.value.code == 130


def test_other_ends_stay_as_they_are():
    assert ends(SystemExit(3)) == 3


def test_what_our_code_warns_of_is_one_line_and_other_warnings_are_as_python_shows_them(tmp_path):
    code = (
        "import warnings; from omniformer.config import reported, report\n"
        "def warn(file): warnings.warn_explicit('a row is left out', UserWarning, file, 7)\n"
        "with reported(): warn(report.__file__); warn('theirs.py')\n"
        "warn('later.py')"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert said.splitlines() == [
        "warning: a row is left out",
        "theirs.py:7: UserWarning: a row is left out",
        "later.py:7: UserWarning: a row is left out",
    ]


def test_a_reader_that_has_read_enough_ends_a_command_without_a_word():
    code = (
        "import sys; from omniformer.config import reported\n"
        "with reported():\n    for _ in range(100_000): print('a line')"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        assert command.stdout is not None and command.stderr is not None
        command.stdout.readline()
        command.stdout.close()
        assert command.stderr.read() == b""
    assert command.returncode == 141


def test_another_broken_pipe_is_told(capsys):
    assert ends(BrokenPipeError(32, "Broken pipe")) == 1
    assert "Broken pipe" in capsys.readouterr().err
