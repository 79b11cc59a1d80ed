"""Folders named after classes are tables: a row a file, the same wherever the folder lies."""

import pickle

import pytest
from PIL import Image

from omniformer.data.table import Table
from omniformer.data.table.class_folders import FolderRows
from omniformer.data.table.rows import BadRowError


def pictures(folder, *names):
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 9 * i).save(folder / name)
    return folder


def texts(folder, **contents):
    for name, content in contents.items():
        (folder / name).mkdir(parents=True)
        for i, each in enumerate(content):
            (folder / name / f"{i}.txt").write_text(each, encoding="utf-8")
    return folder


def test_files_are_rows_with_their_path_and_class(tmp_path):
    rows = FolderRows(pictures(tmp_path, "cat/1.png", "dog/2.png"))
    assert rows.columns == ("file", "class")
    assert [dict(row) for row in rows.each(rows.columns)] == [
        {"file": "cat/1.png", "class": "cat"},
        {"file": "dog/2.png", "class": "dog"},
    ]
    assert rows.place(1) == "dog/2.png"
    assert pickle.loads(pickle.dumps(rows)).row(0) == rows.row(0)


def test_split_folders_are_a_column(tmp_path):
    rows = FolderRows(pictures(tmp_path, "train/cat/1.png", "test/cat/2.png"))
    assert [(row["split"], row["class"]) for row in rows.each(rows.columns)] == [("train", "cat"), ("test", "cat")]


def test_texts_are_read_and_one_that_cannot_be_is_told(tmp_path):
    rows = FolderRows(texts(tmp_path, bad=["dull"], good=["fine", "great"]))
    (tmp_path / "good" / "1.txt").write_bytes(b"\xff\xfe\xff")
    first, second, third = rows.each(rows.columns)
    assert (first["text"], second["text"]) == ("dull", "fine")
    assert isinstance(third, BadRowError) and "1.txt cannot be read as UTF-8" in str(third)


def test_a_text_that_is_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "secret").write_text("secret")
    folder = texts(tmp_path / "set", good=["fine"])
    (folder / "good" / "link.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(BadRowError, match="leads out of"):
        FolderRows(folder).row(1)


def test_the_most_frequent_kind_counts_and_the_others_are_named(tmp_path):
    folder = pictures(tmp_path, "a/1.png", "a/2.png")
    (folder / "a" / "notes.txt").write_text("x")
    with pytest.warns(UserWarning, match=r"passed over 1 file .*notes\.txt"):
        assert len(FolderRows(folder)) == 2


def test_a_table_reads_such_a_folder_and_splits_it_alike_wherever_it_lies(tmp_path):
    names = [f"{kind}/{i}.png" for kind in ("cat", "dog") for i in range(20)]
    found = []
    for place in ("here", "there"):
        table = Table(files=str(pictures(tmp_path / place, *names)), columns={"file": "vision", "class": "label"})
        found.append([[raw.contents["vision"].name for raw in table.split(name)] for name in ("train", "val", "test")])
        assert table.labels == ("cat", "dog")
    assert found[0] == found[1]
    assert list(map(len, found[0])) == [32, 4, 4]
