import gzip
import pickle

import pytest

from omniformer.data.table.delimited import DelimitedRows


def rows(path, content, **options):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return DelimitedRows(path, **options)


def all_of(table):
    return [table.row(i) for i in range(len(table))]


def test_cells_stay_texts_and_an_empty_one_is_none(tmp_path):
    table = rows(tmp_path / "a.csv", 'name,n\n007,1.50\nNA,\n"a, ""b""\nc",nan\n')
    assert all_of(table) == [{"name": "007", "n": "1.50"}, {"name": "NA", "n": None}, {"name": 'a, "b"\nc', "n": "nan"}]
    assert [*table.each(["n"])] == [{"n": "1.50"}, {"n": None}, {"n": "nan"}]
    assert table.columns == ("name", "n")


@pytest.mark.parametrize(
    ("between", "name"), [(",", "a.csv"), (";", "a.csv"), ("\t", "a.csv"), ("|", "a.csv"), ("\t", "a.tsv")]
)
def test_the_delimiter_is_found_in_the_first_line(tmp_path, between, name):
    assert rows(tmp_path / name, f"x{between}y\n1{between}2\n").row(0) == {"x": "1", "y": "2"}


def test_a_delimiter_that_is_given_counts(tmp_path):
    assert rows(tmp_path / "a.csv", "x,y;z\n1,2;3\n", delimiter=";").row(0) == {"x,y": "1,2", "z": "3"}


def test_texts_of_a_tsv_keep_their_quotes(tmp_path):
    table = rows(tmp_path / "a.tsv", 'en\tde\n"Oh" she said\t"Oh", sagte sie\nHe said "no\tnein\n')
    assert table.row(0) == {"en": '"Oh" she said', "de": '"Oh", sagte sie'}
    assert table.row(1)["en"] == 'He said "no'


def test_a_tsv_whose_cells_stand_in_quotes_asks_what_they_mean(tmp_path):
    content = 'en\tde\n"a ""b"" c"\tx\nd\ty\n'
    with pytest.raises(ValueError, match=r"cells of 'en' stand in double quotes.*set quotes=true"):
        rows(tmp_path / "a.tsv", content)
    assert rows(tmp_path / "a.tsv", content, quotes=True).row(0)["en"] == 'a "b" c'
    assert rows(tmp_path / "a.tsv", content, quotes=False).row(0)["en"] == '"a ""b"" c"'


def test_packed_files_byte_order_marks_and_ends_of_lines_are_read(tmp_path):
    content = gzip.compress("\ufeffx,y\r\n1,grüß\r\n".encode())
    assert all_of(rows(tmp_path / "a.csv.gz", content)) == [{"x": "1", "y": "grüß"}]


@pytest.mark.quick(1)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_name_of_several_lines_is_one_name(tmp_path, end):
    lines = ['text;"price', '(EUR)";"in ""x""', "", 'y"', "a;1;2", '"b', 'c";3;4', "d;5"]
    table = rows(tmp_path / "a.csv", end.join(lines))
    assert table.columns == ("text", "price (EUR)", 'in "x" y')
    assert [each["price (EUR)"] for each in all_of(table)] == ["1", "3"]
    assert [str(each).partition(", ")[2][:6] for each in table.wrong] == ["line 8"]


@pytest.mark.parametrize("content", ['"text,n\na,1\nb,2\n', '"text,n\na,"1"\nb,2\n'])
def test_a_name_whose_quote_is_left_open_is_told(tmp_path, content):
    with pytest.raises(ValueError, match=r"a\.csv cannot be read as a table: a double quote in its first line opens"):
        rows(tmp_path / "a.csv", content)
    assert rows(tmp_path / "a.csv", content, quotes=False).columns == ('"text', "n")


def test_a_table_without_names_is_given_some(tmp_path):
    assert all_of(rows(tmp_path / "a.csv", "1,2\n3,4\n", names=["x", "y"])) == [
        {"x": "1", "y": "2"},
        {"x": "3", "y": "4"},
    ]


def test_rows_of_another_length_are_noted_with_their_lines(tmp_path):
    table = rows(tmp_path / "a.csv", "x,y\n1,2\n1,2,3\n4,5\n6\n")
    assert [row["x"] for row in all_of(table)] == ["1", "4"]
    assert [str(error).removeprefix(f"{tmp_path}/") for error in table.wrong] == [
        "a.csv, line 3: has 3 cells for 2 columns; put a cell that holds the delimiter in double quotes",
        "a.csv, line 5: has 1 cells for 2 columns; put a cell that holds the delimiter in double quotes",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x,x\n1,2\n", "names the column 'x' twice"),
        (b"x,\n1,2\n", "does not name every column"),
        (b"", "does not name every column"),
        (b"x,y\n1,\xff\xfe\n", "cannot be read as a table: it is not UTF-8; .*iconv -f cp1252"),
        ("gr\u00f6\u00dfe,y\n1,2\n".encode("cp1252"), "cannot be read as a table: it is not UTF-8; .*iconv -f cp1252"),
        (b"\xff\xfe\x00x", "cannot be read as a table"),
    ],
)
def test_what_is_no_table_is_refused_by_name(tmp_path, content, message):
    with pytest.raises(ValueError, match=rf"a\.csv.*{message}|a\.csv {message}"):
        rows(tmp_path / "a.csv", content)


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("omniformer_tokenizers.limits.MAX_TEXT_BYTES", 1000)
    with pytest.raises(ValueError, match="at most 1000 bytes are accepted"):
        rows(tmp_path / "a.csv.gz", gzip.compress(b"x,y\n" + b"1,2\n" * 1000))


@pytest.mark.parametrize("at_once", [1, 7, 16, 50])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_stretches_of_any_size_hold_the_same_rows(tmp_path, monkeypatch, at_once, end):
    lines = [
        "x,y",
        'a,"two',
        'lines"',
        '5" disc,"said ""no"", ',
        ' then"',
        '"",b',
        "",
        'c,"d"',
        "1,2,3",
        'e"f,"g',
        "",
        'h"',
    ]
    content = end.join(lines)
    whole = rows(tmp_path / "whole.csv", content)
    monkeypatch.setattr("omniformer.data.table.delimited._AT_ONCE", at_once)
    parts = rows(tmp_path / "parts.csv", content)
    assert len(parts.starts) > len(whole.starts)
    assert all_of(parts) == all_of(whole) == [*parts.each(["x", "y"])]
    assert [row["x"] for row in all_of(parts)] == ["a", '5" disc', None, "c", 'e"f']
    assert pickle.loads(pickle.dumps(parts)).row(3) == {"x": "c", "y": "d"}
    told = [[str(error).partition(":")[2] for error in table.wrong] for table in (whole, parts)]
    assert told[0] == told[1] and len(told[0]) == 1


@pytest.mark.parametrize(
    ("bad", "quote", "last", "read"),
    [
        ('"open,1\nb,2\nin "quotes",3\nc,4\n', 5, 7, ["0", "1", "4"]),
        ('a,"open\nb,2\nc,3\n', 5, 7, ["0", "1"]),
        ('"open,1\nb,2', 5, 6, ["0", "1"]),
        ('"two\nlines","open\nb" c\nd,5\n1,2,3\n', 6, 7, ["0", "1", "5"]),
    ],
    ids=["later", "never", "never, in the first column", "behind a cell of several lines"],
)
def test_of_a_row_in_which_a_quote_is_left_open_every_line_is_noted_and_none_is_read(tmp_path, bad, quote, last, read):
    table = rows(tmp_path / "a.csv", f'x,y\n0,0\n"two\nlines" ,1\n{bad}')
    assert [row["y"] for row in all_of(table)] == [table.row(i)["y"] for i in range(len(table))] == read
    told = dict(str(each).partition("a.csv, line ")[2].split(": ", 1) for each in table.wrong)
    assert told.pop(str(quote)).startswith(
        f"a double quote opens a cell that takes in the {last - quote} line(s) below; close it"
    )
    if "1,2,3" in bad:
        assert told.pop("9").startswith("has 3 cells for 2 columns")
    assert told == {
        str(line): f"is of the row of the double quote in line {quote}" for line in range(5, last + 1) if line != quote
    }
    tabs = rows(tmp_path / "a.tsv", bad.replace(",", "\t"))
    assert not any("double quote" in str(each) for each in tabs.wrong)


def test_a_quote_that_takes_in_too_much_of_a_file_is_refused_whatever_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr("omniformer.data.table.delimited._SWALLOWED", 5)
    assert len(rows(tmp_path / "a.csv", 'x,y\n"open,1\n' + 5 * "b,2\n").wrong) == 6
    with pytest.raises(ValueError, match=r"a\.csv, line 2: a double quote opens a cell that takes in the 6 line\(s\)"):
        rows(tmp_path / "a.csv", 'x,y\n"open,1\n' + 6 * "b,2\n")


def test_a_row_of_another_length_is_named_by_its_line_also_below_empty_ones_and_cells_of_several(tmp_path):
    table = rows(tmp_path / "a.csv", 'x,y\r\n\r\n"1\r\n\r\n1",2\r\n1,2,3\r\n1,2\r\n\r\n7\r\n')
    assert [str(each).partition("a.csv, ")[2].partition(" cells")[0] for each in table.wrong] == [
        "line 6: has 3",
        "line 9: has 1",
    ]
    assert len(table) == 2
