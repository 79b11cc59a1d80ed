import pickle
import zipfile

import pytest

from omniformer.data.sets import reading
from omniformer.data.table.archives import ZipRows
from omniformer.data.table.rows import BadRowError


@pytest.fixture
def archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for name in ("b/10_two.wav", "b/2_one.wav", "a/readme.txt"):
            file.writestr(name, name * 50)
        file.mkdir("empty")
    return tmp_path / "a.zip"


def test_each_file_is_a_row_in_the_order_of_the_numbers_in_names(archive):
    rows = ZipRows(archive, "*.wav", r"(?P<number>\d+)_(?P<word>\w+)")
    assert [row["file"] for row in rows.each(["file"])] == ["b/2_one.wav", "b/10_two.wav"]
    assert rows.columns == ("content", "file", "number", "word")
    assert rows.row(1) == {"content": b"b/10_two.wav" * 50, "file": "b/10_two.wav", "number": "10", "word": "two"}
    assert len(ZipRows(archive)) == 3
    assert pickle.loads(pickle.dumps(rows)).row(0)["word"] == "one"


def test_each_process_reads_the_archive_by_itself(archive, monkeypatch):
    rows = ZipRows(archive, "*.wav")
    parents = rows._archive
    monkeypatch.setattr("os.getpid", lambda: -1)  # as in a worker that was forked
    assert rows.row(0)["content"] == b"b/2_one.wav" * 50
    assert rows._archive is not parents


def test_contents_are_not_read_before_they_are_asked_for(archive, monkeypatch):
    monkeypatch.setattr("omniformer.data.table.archives.member_in", lambda *_: pytest.fail("was read"))
    rows = ZipRows(archive, "*.wav")
    assert rows.heavy() == {"content"}
    assert len(list(rows.each(["file"]))) == 2


def test_a_damaged_file_and_an_empty_one_are_told_by_name_in_the_place_of_their_rows(archive):
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b"b/10_two.wavb/10", b"b/10_two.wavX/10"))
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("b/nothing.wav", b"")
    good, damaged, empty = ZipRows(archive, "*.wav").each(["content"])
    assert good["content"]
    assert isinstance(damaged, BadRowError)
    assert "'b/10_two.wav' cannot be read" in str(damaged)
    assert "'b/nothing.wav' is an empty file; fetch the archive anew" in str(empty)


def test_what_is_no_archive_holds_nothing_wanted_or_other_names_is_told(archive, tmp_path):
    (tmp_path / "b.zip").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"b\.zip cannot be read as a zip archive"):
        ZipRows(tmp_path / "b.zip")
    with pytest.raises(ValueError, match=r"a\.zip holds no file '\*\.ogg'; fetch it anew"):
        ZipRows(archive, "*.ogg")
    with pytest.raises(ValueError, match=r"a\.zip: 'a/readme\.txt' is not named as pattern="):
        ZipRows(archive, pattern=r"(?P<number>\d+)_")


def test_many_small_files_of_an_archive_are_no_way_around_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "FREE_TEXT_BYTES", 2_000_000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(5):
            archive.writestr(f"{i}.txt", bytes(600_000))
    assert len(ZipRows(tmp_path / "a.zip", "1.txt")) == 1
    with pytest.raises(ValueError, match=r"a\.zip cannot be read: 3000000 bytes out of \d+ bytes; beyond 2000000"):
        ZipRows(tmp_path / "a.zip", "*.txt")
