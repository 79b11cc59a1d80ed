import gzip
import zipfile

import pytest

from omniformer.data.table.lines import LineRows


def test_each_line_is_a_row_without_blanks_around_it(tmp_path):
    (tmp_path / "a.en.gz").write_bytes(gzip.compress(b"one \n two\xc2\x85three\n"))
    rows = LineRows(tmp_path / "a.en.gz")
    assert [row["line"] for row in rows.each(["line"])] == ["one", "two\x85three"]  # only line feeds end a line
    assert rows.columns == ("line",)
    assert rows.place(1) == "line 2"


def test_parts_of_the_name_are_columns_in_an_archive_too(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/reviews.neg", "bad\r\nworse\r\n")
        archive.writestr("x/latin.neg", "schön".encode("latin-1"))
    rows = LineRows(tmp_path / "a.zip", "x/reviews.neg", r"(?P<kind>pos|neg)$")
    assert rows.row(1) == {"line": "worse", "kind": "neg"}
    with pytest.raises(ValueError, match=r"a\.zip: 'x/latin\.neg' is not UTF-8"):
        LineRows(tmp_path / "a.zip", "x/latin.neg")
    with pytest.raises(ValueError, match=r"a\.zip has no file 'y'"):
        LineRows(tmp_path / "a.zip", "y")


def test_empty_lines_other_names_and_broken_patterns_are_told(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    with pytest.raises(ValueError, match=r"a\.txt: line 2 is empty"):
        LineRows(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("one\n")
    with pytest.raises(ValueError, match=r"a\.txt is not named as pattern=.*rename it, or give another pattern"):
        LineRows(tmp_path / "a.txt", pattern="(?P<kind>pos|neg)")
    with pytest.raises(ValueError, match=r"pattern='\(' is no regular expression"):
        LineRows(tmp_path / "a.txt", pattern="(")
