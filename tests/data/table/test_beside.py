import pyarrow as pa
import pytest

from omniformer.data.table import Table
from omniformer.data.table.beside import Beside, Computed
from omniformer.data.table.columnar import ArrowRows
from omniformer.data.table.rows import BadRowError

WORDS = ArrowRows(pa.table({"line": ["a", "b"], "photo": [b"1", b"2"]}), "words")
OTHERS = ArrowRows(pa.table({"line": ["x", "y"]}), "others")


def test_rows_of_one_number_are_one_row_and_a_name_that_is_taken_gets_a_number():
    rows = Beside([WORDS, OTHERS])
    assert rows.columns == ("line", "photo", "line 2")
    assert rows.row(1) == {"line": "b", "photo": b"2", "line 2": "y"}
    assert list(rows.each(["line 2"])) == [{"line 2": "x"}, {"line 2": "y"}]
    assert rows.heavy() == {"photo"}


def test_files_of_other_lengths_are_told():
    with pytest.raises(ValueError, match="words has 2 rows and short 1, which stand side by side"):
        Beside([WORDS, ArrowRows(pa.table({"z": [1]}), "short")])


def test_a_row_that_cannot_be_read_in_one_file_cannot_be_read():
    class Broken(ArrowRows):
        def each(self, columns):
            yield BadRowError("words, row 1: broken")
            yield {"line": "b"}

    first, second = Beside([Broken(WORDS.table, "words"), OTHERS]).each(["line", "line 2"])
    assert str(first) == "words, row 1: broken"
    assert second == {"line": "b", "line 2": "y"}


def test_computed_columns_are_made_of_the_row_they_stand_beside():
    rows = Beside([WORDS, Computed(WORDS, {"loud": lambda row: row["line"].upper()}, heavy=["loud"], of=["line"])])
    assert rows.row(0)["loud"] == "A"
    assert list(rows.each(["loud"])) == [{"loud": "A"}, {"loud": "B"}]
    assert rows.heavy() == {"photo", "loud"}


def test_a_row_that_was_passed_over_is_told_wherever_its_file_stands(tmp_path):
    (tmp_path / "a.csv").write_text("text,kind\none,x\ntwo\nthree,y\n")
    (tmp_path / "b.csv").write_text("size\n1\n3\n")
    table = Table(files=f"{tmp_path}/a.csv + {tmp_path}/b.csv", columns={"text": "text", "size": "value"})
    with pytest.raises(ValueError, match=r"a\.csv, line 3: has 1 cells for 2 columns"):
        table.split("train")
