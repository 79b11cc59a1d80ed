import json
import pickle
import zipfile

import numpy as np
import pyarrow as pa
import pytest

from omniformer.data.table import Table
from omniformer.data.table.columnar import ArrowRows
from omniformer.data.table.looked_up import LookedUp

ASKED = [{"question": f"is it {i}?", "item": i % 3, "answer": "yes" if i % 2 else "no"} for i in range(12)]
PICTURES = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(each) + "\n" for each in ASKED))
    np.savez(tmp_path / "pictures.npz", x=PICTURES)
    return tmp_path


def arrow(**columns):
    return ArrowRows(pa.table(columns), "a")


def test_a_cell_is_the_number_of_a_row_or_what_a_column_of_its_name_says():
    asked = arrow(item=[2, 0, 2])
    assert [row["x"] for row in LookedUp(asked, arrow(x=["a", "b", "c"]), "item").each(["x"])] == ["c", "a", "c"]
    named = LookedUp(asked, arrow(x=["a", "b"], item=["0", "2"]), "item")
    assert named.columns == ("x",) and [named.row(i)["x"] for i in range(3)] == ["b", "a", "b"]


def test_pictures_stand_beside_the_questions_about_them(folder):
    table = Table(
        train="asked.jsonl + pictures.npz::x by item",
        columns={"content": "vision", "question": "text", "answer": "label", "item": "group"},
        splits={"test": "item == 2"},
        data_root=str(folder),
    )
    for name, n in (("train", 8), ("test", 4)):
        assert len(table.split(name)) == n
        for raw in pickle.loads(pickle.dumps(table.split(name))):
            number = int(raw.contents["text"].split()[2][:-1])
            assert raw.contents["vision"].permute(1, 2, 0).tolist() == PICTURES[number % 3].tolist()


def test_files_of_an_archive_are_found_by_a_part_of_their_names_and_one_that_is_missing_is_told(folder):
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for number in (2, 0):
            archive.writestr(f"x/{number}.txt", f"item {number}")
    table = Table(
        files="asked.jsonl + a.zip::*.txt by item",
        pattern=r"(?P<item>\d)\.txt",
        columns={"question": "text", "file": "group"},
        data_root=str(folder),
    )
    with pytest.raises(ValueError, match=r"4 problem.*asked\.jsonl, line 2, column 'item': 1 is no row of .*a\.zip"):
        table.split("train")
    table.on_error = "skip"
    assert sum(len(table.split(name)) for name in ("train", "val", "test")) == 8


def test_names_that_are_there_twice_and_columns_that_are_not_are_told(folder):
    with pytest.raises(ValueError, match="a, row 2, column 'item': 0 is there twice"):
        list(LookedUp(arrow(item=[0]), arrow(x=["a", "b"], item=[0, 0]), "item").each(["x"]))
    with pytest.raises(ValueError, match="a has no column 'photo' to look up by; it has item"):
        LookedUp(arrow(item=[0]), arrow(x=["a"]), "photo")
    with pytest.raises(ValueError, match=r"stands beside no table; write 'table\.csv \+ pictures"):
        Table(files="pictures.npz::x by item", columns={"content": "vision"}, data_root=str(folder)).split("train")


def test_a_cell_that_is_empty_names_no_row():
    (row,) = LookedUp(arrow(item=[None]), arrow(x=["a"]), "item").each(["x"])
    assert str(row) == "a, row 1, column 'item': None is no row of a, which has 1"
