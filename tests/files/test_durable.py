"""A file is replaced whole or not at all, and reaches the disk before its name does."""

import errno
import hashlib
import os

import pytest
from noted_disk import noted_disk

from omniformer.files.durable import sha256_of, write_durably


def test_text_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    write_durably(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(OSError, match="No space"):
            write_durably(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.json"]


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot open folders")
def test_bytes_reach_the_disk_before_the_name_and_the_name_at_last(tmp_path, monkeypatch):
    done = noted_disk(monkeypatch)
    write_durably(tmp_path / "a.json", ["{", "}"])
    assert done == [("sync", ".a.json.writing"), ("rename", "a.json"), ("sync", tmp_path.name)]
    assert (tmp_path / "a.json").read_text() == "{}"


def test_a_digest_is_that_of_all_bytes(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()
