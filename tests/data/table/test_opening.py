import gzip
import json

import pytest

from omniformer.data.table import Table

SPLITS = ("train", "val", "test")
LISTS = {"train": [["a", "one"], ["b", "two"]], "oos_train": [["c", "none"]], "test": [["d", "two"]]}


@pytest.fixture
def lists(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(LISTS))
    return tmp_path


def test_parts_of_a_file_are_named_behind_colons_and_ids_are_made_of_them(lists):
    table = Table(
        train=["a.json::train", "a.json::oos_train"],
        test="a.json::test",
        shares=[1.0, 0.0, 0.0],
        names=["text", "intent"],
        columns={"text": "text", "intent": "label"},
        labels=["...", "none"],
        ids="mine/{split}/{part}/{row}/{label}",
        data_root=str(lists),
    )
    assert table.labels == ("one", "two", "none")
    assert [raw.id for raw in table.split("train")] == [
        "mine/train/train/0/one",
        "mine/train/train/1/two",
        "mine/train/oos_train/0/none",
    ]
    assert [raw.targets["label"].item() for raw in table.split("train")] == [0, 1, 2]
    plain = Table(files="a.json::train", names=["text", "x"], columns={"text": "text"}, data_root=str(lists))
    assert "a.json::train, entry 2 of 'train'" in {raw.id for name in SPLITS for raw in plain.split(name)}


def test_files_side_by_side_alternatives_and_packed_ones_are_found(tmp_path):
    (tmp_path / "a.en").write_text("one\ntwo\n")
    (tmp_path / "a.de.gz").write_bytes(gzip.compress(b"eins\nzwei\n"))
    table = Table(
        files="lines:none.en | a.en + lines:a.de",
        columns={"line": "text", "line 2": "answer.text"},
        splits={"test": "row == 1"},
        data_root=str(tmp_path),
    )
    assert [(raw.contents["text"], raw.answer["text"]) for raw in table.split("test")] == [("two", "zwei")]
    with pytest.raises(FileNotFoundError, match=r"no file 'x\.en \| y\.en' here"):
        Table(files="lines:x.en | y.en", columns={"line": "text"}, data_root=str(tmp_path)).split("train")


def test_a_file_that_may_be_fetched_is_compared_with_its_hash(tmp_path):
    (tmp_path / "a.csv").write_text("text\na\nb\n")
    fetch = {"a.csv": "http://127.0.0.1:9/a.csv " + "0" * 64}
    table = Table(files="a.csv", columns={"text": "text"}, fetch=fetch, data_root=str(tmp_path))
    with pytest.raises(ValueError, match=r"a\.csv is not the file that was expected: sha256"):
        table.split("train")
    table = Table(files="b.csv", columns={"text": "text"}, fetch={"b.csv": "http://x/b.csv"}, data_root=str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"fetch it from http://x/b\.csv with download=true"):
        table.split("train")
