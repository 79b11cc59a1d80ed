"""Tables: nothing of them is cut or folded in a pipe."""

import io
import re
import sys

import pytest
from rich.table import Table

from omniformer.terminal.tables import show


class Terminal(io.StringIO):
    def isatty(self):
        return True


def table():
    made = Table("a" * 90, title="/runs/" + "b" * 120, title_justify="left")
    made.add_row("c" * 200)
    return made


def test_in_a_pipe_title_header_and_cells_are_whole(capsys):
    show(table())
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "/runs/" + "b" * 120
    assert any("a" * 90 in line for line in printed) and any("c" * 200 in line for line in printed)


@pytest.mark.parametrize("width", ["60", "100"])
def test_on_a_terminal_a_table_is_no_wider(monkeypatch, width):
    monkeypatch.setattr(sys, "stdout", screen := Terminal())
    monkeypatch.setenv("COLUMNS", width)
    show(table())
    plain = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    assert max(map(len, plain.splitlines()[1:])) <= int(width)
