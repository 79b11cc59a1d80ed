import gzip

import pytest

from omniformer.data.table import Table
from omniformer.data.table.texts import TextRows

TEXT = "".join(chr(97 + i % 26) for i in range(95)) + "\r\nöl"  # 98 characters, once lines are as they should be


def test_a_text_is_split_by_place_and_nothing_of_it_is_lost_or_there_twice(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    table = Table(
        train="text:a.txt::..0.9",
        val="text:a.txt::0.9..",
        columns={"text": "text"},
        ids="mine/{split}",
        data_root=str(tmp_path),
    )
    (train,), (val,) = table.split("train"), table.split("val")
    assert (train.id, val.id, len(table.split("test"))) == ("mine/train", "mine/val", 0)
    assert train.contents["text"] + val.contents["text"] == TEXT.replace("\r\n", "\n")
    assert len(train.contents["text"]) == int(0.9 * 98)


def test_without_a_stretch_a_row_is_the_whole_text(tmp_path):
    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text(f"all of {name}")
    table = Table(
        train=["text:a.md", "text:b.md"],
        columns={"text": "text"},
        shares=(1.0, 0.0, 0.0),
        data_root=str(tmp_path),
    )
    assert [raw.contents["text"] for raw in table.split("train")] == ["all of a.md", "all of b.md"]


@pytest.mark.parametrize("stretch", ["0.9", "..2", "0.9..0.1", "-1..", "a..b", "..0"])
def test_what_is_no_stretch_is_told(tmp_path, stretch):
    (tmp_path / "a.txt").write_text("to be")
    with pytest.raises(ValueError, match=r"a\.txt::.*no stretch of a text; write '\.\.0\.9' or '0\.9\.\.'"):
        TextRows(tmp_path / "a.txt", stretch)


def test_a_stretch_without_a_text_is_told(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"a\.txt: of its 1 characters the stretch '\.\.0\.9' holds no text"):
        TextRows(tmp_path / "a.txt", "..0.9")
