import gzip
import hashlib
import zipfile

import numpy as np
import pytest

from omniformer.data.sets.reading import (
    check_labels,
    check_pictures,
    laid_out_or_original,
    lines_in,
    member_in,
    opened_zip,
    text_in,
)


@pytest.fixture
def published(tmp_path):
    """What a publisher offers: the arguments that fetch it."""
    file = tmp_path / "published.txt"
    file.write_text("to be")
    return {"url": file.as_uri(), "sha256": hashlib.sha256(b"to be").hexdigest()}


def test_the_laid_out_file_goes_before_the_original(tmp_path, published):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.txt").write_text("to be")
    places = {"laid_out": "set/a.txt.gz", "original": "set/a.txt", "data_root": str(tmp_path)}
    assert laid_out_or_original(**places, **published) == tmp_path / "set/a.txt"
    (tmp_path / "set/a.txt.gz").write_bytes(b"")
    assert laid_out_or_original(**places, **published) == tmp_path / "set/a.txt.gz"


def test_nothing_is_fetched_unasked_and_both_places_are_named(tmp_path, published):
    places = {"laid_out": "set/a.txt.gz", "original": "set/a.txt", "data_root": str(tmp_path)}
    with pytest.raises(FileNotFoundError, match=r"a\.txt\.gz.*and no file.*a\.txt'.*download=true"):
        laid_out_or_original(**places, **published)
    assert laid_out_or_original(**places, **published, download=True).read_text() == "to be"


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


def test_pictures_of_another_shape_or_kind_are_refused():
    check_pictures(np.zeros((2, 4, 4), dtype=np.uint8), (4, 4), "x")
    for wrong in (np.zeros((2, 4, 5), dtype=np.uint8), np.zeros((2, 4, 4)), np.zeros((4, 4), dtype=np.uint8)):
        with pytest.raises(ValueError, match=r"x is .* expected uint8 \[samples, 4, 4\]"):
            check_pictures(wrong, (4, 4), "x")


def test_labels_out_of_range_are_told_by_sample():
    check_labels(np.array([0, 2]), 2, 3, "y")
    with pytest.raises(ValueError, match="y: sample 1 has label 3; accepted are 0 to 2"):
        check_labels(np.array([0, 3]), 2, 3, "y")
    with pytest.raises(ValueError, match="y: sample 0 has label -1"):
        check_labels(np.array([-1, 3]), 2, 3, "y")
    for wrong in (np.array([0, 1]), np.array([0.0, 1, 2]), np.array([[0], [1], [2]])):
        with pytest.raises(ValueError, match="for 3 samples; expected one each"):
            check_labels(wrong, 3, 3, "y")


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
