"""Some rows of a table, column by column."""

from pathlib import Path

import pyarrow as pa

from omniformer.data.table.columnar import ArrowRows
from omniformer.data.table.rows import Joined
from omniformer.prepare import columns
from omniformer.prepare.columns import Column, columns_of


def rows_of(**cells):
    return Joined([ArrowRows(pa.table(cells), Path("x.arrow"))], "x.arrow")


def test_columns_count_what_is_missing_and_what_is_there_once():
    found = columns_of(rows_of(a=["x", " ", None, "x"], b=[1.0, float("nan"), 2.0, 3.0]))
    assert (found["a"].rows, found["a"].missing, found["a"].distinct) == (4, 2, 1)
    assert (found["b"].missing, found["b"].numbers) == (1, [1.0, 2.0, 3.0])


def test_nested_cells_are_columns_of_their_own_and_files_are_not():
    found = columns_of(rows_of(answers=[{"text": "a", "start": 3}], photo=[{"bytes": b"\x89PNG", "path": "x"}]))
    assert list(found) == ["answers.text", "answers.start", "photo"]


def test_a_large_table_is_looked_at_in_parts_that_no_rhythm_hides(monkeypatch):
    monkeypatch.setattr(columns, "LOOKED_AT", 50)
    monkeypatch.setattr(columns, "_HEAVY", 10)
    found = columns_of(rows_of(mood=["good", "bad"] * 200, photo=[b"x"] * 400))
    assert (found["mood"].rows, found["mood"].distinct, found["photo"].rows) == (50, 2, 10)


def test_numbers_are_all_numbers_or_none():
    assert Column(name="x", by_row=["1", "2e3", "NA"]).numbers[:2] == [1.0, 2000.0]
    assert Column(name="x", by_row=["1", "two"]).numbers is None
    assert Column(name="x", by_row=["NA", "NA"]).numbers is None
    assert Column(name="x", by_row=[True, False]).numbers is None
