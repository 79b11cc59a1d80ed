"""Long steps say how far they are: nothing below a second, a bar on a terminal, whole lines in a file."""

import io
import sys
import time
from pathlib import Path

import pytest
from omniformer_tokenizers import CharacterTokenizer

from omniformer.data import OmniDataModule, Stream, Table
from omniformer.data.sets import vowels
from omniformer.data.table.molecules import made_molecules
from omniformer.prepare.__main__ import main as prepare
from omniformer.terminal.progress import counted


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that only its items move on."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def slow(n, clock, seconds):
    for i in range(n):
        clock[0] += seconds
        yield i


def told(monkeypatch, stream, items):
    monkeypatch.setattr(sys, "stderr", stream)
    found = list(items)
    return found, stream.getvalue()


def test_what_takes_less_than_a_second_says_nothing(monkeypatch, clock):
    found, text = told(monkeypatch, io.StringIO(), counted(slow(9, clock, 0.1), "reading", 9))
    assert (found, text) == (list(range(9)), "")


def test_a_file_gets_whole_lines_with_the_time_left_and_one_at_the_end(monkeypatch, clock):
    _, text = told(monkeypatch, io.StringIO(), counted(slow(2560, clock, 1 / 128), "fitting a vocabulary", 2560))
    assert text.splitlines() == [
        "fitting a vocabulary: 128 of 2,560, 0:00:19 left",
        "fitting a vocabulary: 1,408 of 2,560, 0:00:09 left",
        "fitting a vocabulary: 2,560 in 0:00:20",
    ]


def test_without_a_total_it_counts(monkeypatch, clock):
    _, text = told(monkeypatch, io.StringIO(), counted(slow(3, clock, 1.0), "reading"))
    assert text.splitlines() == ["reading: 1", "reading: 3 in 0:00:03"]


def test_a_terminal_gets_a_bar_that_is_gone_at_the_end(monkeypatch):
    monkeypatch.setattr("omniformer.terminal.progress._SILENT", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    found, text = told(monkeypatch, Terminal(), counted(range(3), "looking at rows", 3))
    assert found == [0, 1, 2]
    assert "looking at rows" in text and "3/3" in text
    assert text.rstrip("\n").endswith("\x1b[2K")


def test_a_long_step_inside_another_is_the_outer_ones(monkeypatch, clock):
    inner = (each for _ in slow(3, clock, 2.0) for each in counted(slow(2, clock, 2.0), "inside", 2))
    _, text = told(monkeypatch, io.StringIO(), counted(inner, "outside", 6))
    assert "outside: 6 in 0:00:18" in text
    assert "inside" not in text


def test_other_ranks_say_nothing(monkeypatch, clock):
    monkeypatch.setenv("RANK", "1")
    assert told(monkeypatch, io.StringIO(), counted(slow(3, clock, 9.0), "reading", 3)) == ([0, 1, 2], "")


def test_what_is_broken_off_leaves_room_for_the_next(monkeypatch, clock):
    def broken():
        yield from slow(2, clock, 5.0)
        raise ValueError("no more")

    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    with pytest.raises(ValueError, match="no more"):
        list(counted(broken(), "first", 3))
    list(counted(slow(2, clock, 5.0), "second", 2))
    assert "first: 2 in 0:00:10" in stream.getvalue()
    assert "second: 2 in 0:00:10" in stream.getvalue()


@pytest.fixture
def films(tmp_path):
    rows = "".join(f"film {i} is {mood},{mood}\n" for i in range(40) for mood in ("good", "bad"))
    (file := tmp_path / "films.csv").write_text("text,mood\n" + rows)
    return file


def test_the_long_steps_before_a_training_are_told(films, monkeypatch, capsys):
    monkeypatch.setattr("omniformer.terminal.progress._SILENT", -1.0)
    source = Table(files=str(films), columns={"text": "text", "mood": "label"})
    stream = Stream(source=source, batch_size=None, tokens_per_batch=500)
    module = OmniDataModule(streams={"films": stream}, tokenizers={"films": {"text": CharacterTokenizer()}}, seed=0)
    module.setup()
    n = len(module.samples("films", "train").lengths())
    told = capsys.readouterr().err
    assert f"looking at the rows of {films}: 80 in " in told
    assert f"reading text to fit CharacterTokenizer: {n} in " in told
    assert f"counting tokens for batches of a budget: {n} in " in told


def test_a_synthesis_is_told(monkeypatch, capsys):
    monkeypatch.setattr("omniformer.terminal.progress._SILENT", -1.0)
    monkeypatch.setattr(vowels, "_SPEAKERS", {**vowels._SPEAKERS, "val": 1})
    vowels._utterances.cache_clear()
    vowels._recordings.cache_clear()
    assert len(vowels.Vowels().split("val")) == 30
    assert "synthesising vowels (val): 30 in " in capsys.readouterr().err
    vowels._utterances.cache_clear()
    vowels._recordings.cache_clear()


def test_molecules_that_are_made_are_told(monkeypatch, capsys):
    pytest.importorskip("rdkit")
    monkeypatch.setattr("omniformer.terminal.progress._SILENT", -1.0)
    made_molecules(["C", "CC"], where=Path("a.csv"))
    assert "reading the molecules of a.csv: 2 in " in capsys.readouterr().err


def test_preparing_a_table_is_told(films, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("omniformer.terminal.progress._SILENT", -1.0)
    monkeypatch.chdir(tmp_path)
    prepare([str(films)])
    told = capsys.readouterr().err
    for what in ("looking at the rows of ", "opening samples: ", "counting tokens: ", "comparing samples: "):
        assert what in told
