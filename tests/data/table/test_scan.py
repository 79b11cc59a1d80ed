import warnings

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omniformer.data.table import Table

SPLITS = ("train", "val", "test")


def test_conditions_divide_rows_and_leave_some_out(tmp_path):
    (tmp_path / "a.csv").write_text("text,take\n" + "".join(f"t{i},{i}\n" for i in range(10)))
    splits = {"out": "take == 0", "test": "take < 3", "val": "row % 4 == 3"}
    table = Table(files=str(tmp_path / "a.csv"), columns={"text": "text"}, splits=splits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # they are left out as was asked for
        sizes = {name: [raw.contents["text"] for raw in table.split(name)] for name in SPLITS}
    assert sizes == {"train": ["t4", "t5", "t6", "t8", "t9"], "val": ["t3", "t7"], "test": ["t1", "t2"]}


def test_rows_that_belong_together_follow_the_first_of_them_where_that_is_asked_for(tmp_path):
    (tmp_path / "a.csv").write_text("text,kind\na,x\nb,y\nc,x\nd,y\na,z\ne,q\n")
    given = {"files": str(tmp_path / "a.csv"), "splits": {"test": "row % 2 == 1", "val": "row == 4"}}
    columns = {"text": "text", "kind": "group"}

    def texts(**options):
        table = Table(**given, **options)
        return {name: [raw.contents["text"] for raw in table.split(name)] for name in SPLITS}

    assert texts(columns={"text": "text"}, together=True) == {
        "train": ["a", "c", "a"],  # the second a follows the first
        "val": [],
        "test": ["b", "d", "e"],
    }
    (tmp_path / "a.csv").write_text("text,kind\na,x\nb,y\nc,y\nd,x\n")
    assert texts(columns=columns, together=True) == {"train": ["a", "d"], "val": [], "test": ["b", "c"]}


def test_rows_of_files_that_are_not_looked_at_are_not_taken_for_one(tmp_path):
    photos = pa.table({"photo": [b"1", b"2", b"3"], "fold": ["train", "train", "test"]})
    pq.write_table(photos, tmp_path / "a.parquet")
    table = Table(files=str(tmp_path / "a.parquet"), columns={"photo": "vision", "fold": "split"}, shares=[1, 0, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as of rows of test that training holds
        assert len({keys for split in ("train", "test") for each in table.kin(split) for keys in each}) == 3


def test_conditions_may_ask_for_the_number_of_a_row_in_its_class_and_for_the_split_of_its_file(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("text,kind\n" + "".join(f"{name}{i},{'xxy'[i % 3]}\n" for i in range(6)))
    table = Table(
        train=str(tmp_path / "a.csv"),
        test=str(tmp_path / "b.csv"),
        columns={"text": "text", "kind": "label"},
        splits={"val": "split == train and nth % 2 == 1"},
        ids="mine/{split}/{label}-{nth}",
    )
    assert {name: [(raw.id, raw.contents["text"]) for raw in table.split(name)] for name in SPLITS} == {
        "train": [("mine/train/x-0", "a0"), ("mine/train/y-0", "a2"), ("mine/train/x-2", "a3")],
        "val": [("mine/val/x-1", "a1"), ("mine/val/x-3", "a4"), ("mine/val/y-1", "a5")],
        "test": [
            (f"mine/test/{'xxy'[i % 3]}-{i // 3 * (1 if i % 3 == 2 else 2) + i % 3 % 2}", f"b{i}") for i in range(6)
        ],
    }
    assert table.name == "mine"
    nothing = Table(files=str(tmp_path / "a.csv"), columns={"text": "text"}, splits={"val": "nth == 0"})
    with pytest.raises(ValueError, match="a condition names 'nth', .*; no column is the label"):
        nothing.split("val")


def test_rows_of_which_a_part_was_not_looked_at_are_not_taken_for_one(tmp_path):
    rows = {"photo": [b"1", b"2", b"3"], "question": ["red?"] * 3, "fold": ["train", "train", "test"]}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    columns = {"photo": "vision", "question": "text", "fold": "split"}
    table = Table(files=str(tmp_path / "a.parquet"), columns=columns, shares=[1, 0, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len({keys for split in ("train", "test") for each in table.kin(split) for keys in each}) == 3
