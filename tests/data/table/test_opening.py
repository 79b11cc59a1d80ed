import gzip
import json
import zipfile

import pytest

from omniformer.data.table import Table
from omniformer.data.table.opening import Choice

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


def test_alternatives_say_each_what_is_taken_of_them_and_share_what_one_does_not_say():
    choices = Choice.of("lines:a.zip::x | b | text:c::..0.5")
    assert [(each.prefix, each.name, each.inner) for each in choices] == [
        ("lines:", "a.zip", "x"),
        ("lines:", "b", "..0.5"),
        ("text:", "c", "..0.5"),
    ]


def test_lists_are_found_in_archives_too(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/train.json", json.dumps(LISTS["train"]))
        archive.writestr("x/bad.json", "[")
    options = {"names": ["text", "intent"], "columns": {"text": "text"}, "data_root": str(tmp_path)}
    table = Table(train="a.json::train | list:a.zip::x/train.json", shares=(1.0, 0.0, 0.0), **options)
    assert [raw.contents["text"] for raw in table.split("train")] == ["a", "b"]
    with pytest.raises(ValueError, match=r"a\.zip: 'x/bad\.json' is not JSON"):
        Table(train="list:a.zip::x/bad.json", **options).split("train")
    with pytest.raises(ValueError, match=r"a\.zip has no file 'x/none\.json'"):
        Table(train="list:a.zip::x/none.json", **options).split("train")


def test_a_file_whose_name_holds_a_sign_is_that_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a + b|c::d.csv").write_text("text\none\ntwo\n")
    table = Table(files="a + b|c::d.csv", columns={"text": "text"}, shares=(1.0, 0.0, 0.0))
    assert len(table.split("train")) == 2


def test_a_file_is_fetched_under_the_packed_name_that_has_an_address(tmp_path):
    fetch = {"a.idx.gz": "http://x/a.idx.gz"}
    table = Table(files="none.npz | a.idx", columns={"content": "series"}, fetch=fetch, data_root=str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"fetch it from http://x/a\.idx\.gz .*read are also none\.npz"):
        table.split("train")
