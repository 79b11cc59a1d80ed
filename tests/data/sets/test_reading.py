import gzip
import zipfile

import pytest

from omniformer.data.sets.reading import lines_in, member_in, opened_zip, text_in


def test_text_is_the_same_packed_and_plain(tmp_path):
    (tmp_path / "a.txt").write_bytes("Öl\r\nund\nMehl".encode())
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("Öl\r\nund\nMehl".encode()))
    assert text_in(tmp_path / "a.txt") == text_in(tmp_path / "a.txt.gz") == "Öl\nund\nMehl"


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"long enough" * 99)[:-12], gzip.compress(b"\xff\xfe")],
    ids=["no gzip", "an end that is missing", "no UTF-8"],  # what is packed holds the time, and would name the test
)
def test_a_damaged_text_is_told_by_the_name_of_its_file(tmp_path, content):
    (tmp_path / "a.txt.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.txt\.gz cannot be read as UTF-8 text"):
        text_in(tmp_path / "a.txt.gz")


def test_only_line_feeds_end_a_line():
    assert lines_in("one\x85two \n three\u2028four\n", "a.txt") == ["one\x85two", "three\u2028four"]


@pytest.mark.parametrize(("text", "number"), [("one\n \ntwo", 2), ("", 1), ("one\n\n", 2)])
def test_an_empty_line_is_told_by_its_number(text, number):
    with pytest.raises(ValueError, match=rf"a\.txt: line {number} is empty"):
        lines_in(text, "a.txt")


def test_a_file_of_a_zip_archive_is_read_or_its_fault_is_told(tmp_path):
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("good.txt", "to be")
        archive.writestr("damaged.txt", "or not to be")
    file.write_bytes(file.read_bytes().replace(b"or not to be", b"or not to B3"))
    with opened_zip(file) as archive:
        assert member_in(archive, "good.txt") == b"to be"
        with pytest.raises(ValueError, match=r"a\.zip: 'damaged\.txt' cannot be read: Bad CRC"):
            member_in(archive, "damaged.txt")
        with pytest.raises(ValueError, match=r"a\.zip has no file 'missing\.txt'"):
            member_in(archive, "missing.txt")


def test_what_is_no_zip_archive_is_told(tmp_path):
    (tmp_path / "a.zip").write_text("no archive")
    with pytest.raises(ValueError, match=r"a\.zip cannot be read as a zip archive"):
        opened_zip(tmp_path / "a.zip")


def test_bombs_of_every_container_are_refused(tmp_path, monkeypatch):
    import numpy as np
    from omniformer_tokenizers import limits

    from omniformer.data.sets import reading
    from omniformer.data.sets.arrays import read_arrays
    from omniformer.data.sets.reading import member_in, opened_zip, text_in

    monkeypatch.setattr(limits, "FREE_TEXT_BYTES", 2_000_000)
    monkeypatch.setattr(reading, "FREE_TEXT_BYTES", 2_000_000)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(bytes(6_000_000)))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.txt", bytes(6_000_000))
    np.savez_compressed(tmp_path / "a.npz", y=np.zeros(6_000_000, np.uint8))
    with pytest.raises(ValueError, match=r"a\.txt\.gz cannot be read .* bytes or more out of \d+ bytes"):
        text_in(tmp_path / "a.txt.gz")
    with pytest.raises(ValueError, match=r"a\.zip: 'x\.txt' cannot be read: 6000000 bytes out of \d+ bytes"):
        member_in(opened_zip(tmp_path / "a.zip"), "x.txt")
    with pytest.raises(ValueError, match=r"a\.npz cannot be read as npz at array 'y': 6000128 bytes out of"):
        read_arrays(tmp_path / "a.npz", ["y"])
