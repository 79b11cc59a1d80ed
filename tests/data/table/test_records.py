import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest
from omniformer_tokenizers import limits

from omniformer.data.table import Table, records
from omniformer.data.table.records import read_records

RECORD = {"label": "u1", "content": "(3,2,5)u1"}
PICTURES = np.random.default_rng(0).integers(256, size=(6, 3, 2, 5), dtype=np.uint8)
LABELS = np.array([2, 0, 1, 1, 0, 2], np.uint8)


def written(rows):
    return b"".join(
        bytes([label]) + picture.tobytes() for label, picture in zip(LABELS[rows], PICTURES[rows], strict=True)
    )


def tar(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("kind", ["a.bin", "a.bin.gz", "a.tar", "a.tar.gz", "a.zip"])
def test_records_are_the_same_plain_packed_and_in_archives_whose_files_follow_each_other(tmp_path, kind):
    whole, parts = written(slice(None)), {"b/2.bin": written(slice(4, 6)), "b/1.bin": written(slice(4)), "b/x": b"no"}
    only = "*.bin" if kind.split(".")[1] in ("tar", "zip") else None
    if kind.endswith("zip"):
        with zipfile.ZipFile(tmp_path / kind, "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, content)
    elif only:
        tar(tmp_path / kind, parts, "w:gz" if kind.endswith("gz") else "w")
    else:
        (tmp_path / kind).write_bytes(gzip.compress(whole) if kind.endswith("gz") else whole)
    found = read_records(tmp_path / kind, only, RECORD)
    assert np.array_equal(found["content"], PICTURES) and np.array_equal(found["label"], LABELS)


def test_a_table_of_them_gives_pictures_with_their_channels_first(tmp_path):
    tar(tmp_path / "a.tar.gz", {"train.bin": written(slice(4)), "test.bin": written(slice(4, 6))})
    table = Table(
        train="none.npz | records:a.tar.gz::train.bin",
        test="records:a.tar.gz::test.bin",
        record=RECORD,
        columns={"content": "vision", "label": "label"},
        labels={"0": "cat", "1": "dog", "2": "owl"},
        splits={"val": "split == train and nth % 2 == 1"},
        ids="mine/{split}/{label}-{nth}",
        data_root=str(tmp_path),
    )
    assert [raw.id for name in ("train", "val", "test") for raw in table.split(name)] == [
        *("mine/train/owl-0", "mine/train/cat-0", "mine/train/dog-0"),
        "mine/val/dog-1",
        *("mine/test/cat-0", "mine/test/owl-0"),
    ]
    assert table.split("test")[1].contents["vision"].tolist() == PICTURES[5].tolist()


@pytest.mark.parametrize(
    ("record", "only", "message"),
    [
        (None, "*.bin", r"record=\{\} names no numbers; of files of records say the type of each field"),
        ({"label": "u9"}, "*.bin", r"record=\{'label': 'u9'\} cannot be read"),
        ({"label": "O"}, "*.bin", r"record=\{'label': 'O'\} names no numbers"),
        ({"label": "(5,)u1"}, "*.bin", r"a\.tar\.gz: 'a\.bin' has 7 bytes, not some records of 5"),
        ({"label": "u1"}, "*.png", r"a\.tar\.gz holds no file '\*\.png'"),
    ],
)
def test_what_is_no_record_is_told(tmp_path, record, only, message):
    tar(tmp_path / "a.tar.gz", {"a.bin": bytes(7)})
    with pytest.raises(ValueError, match=message):
        read_records(tmp_path / "a.tar.gz", only, record)


def test_damaged_archives_and_bombs_are_refused(tmp_path, monkeypatch):
    (tmp_path / "a.tar.gz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"a\.tar\.gz cannot be read"):
        read_records(tmp_path / "a.tar.gz", "*", {"label": "u1"})
    monkeypatch.setattr(records, "FREE_TEXT_BYTES", 100_000)
    assert limits.FREE_TEXT_BYTES > 100_000
    tar(tmp_path / "b.tar.gz", {"a.bin": bytes(1_000_000)})
    with pytest.raises(ValueError, match=r"b\.tar\.gz cannot be read: 1000000 bytes"):
        read_records(tmp_path / "b.tar.gz", "*", {"label": "u1"})


def test_what_is_passed_over_in_a_packed_archive_is_no_bomb_either(tmp_path, monkeypatch):
    tar(path := tmp_path / "a.tar.gz", {"large.dat": b"\0" * 300_000, "small.bin": b"\7\1\2"})
    assert len(read_records(path, "*.bin", {"label": "u1", "content": "(2,)u1"})["label"]) == 1
    monkeypatch.setattr("omniformer.data.sets.reading.FREE_TEXT_BYTES", 1000)
    with pytest.raises(ValueError, match="bytes or more out of"):
        read_records(path, "*.bin", {"label": "u1", "content": "(2,)u1"})


def test_an_encrypted_archive_is_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.bin", b"\7\1\2")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    for sign, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(sign) + at] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.zip cannot be read: .*encrypted"):
        read_records(tmp_path / "a.zip", "*.bin", {"label": "u1", "content": "(2,)u1"})
