import hashlib

import pytest

from omniformer.data.download import obtain


@pytest.fixture
def published(tmp_path):
    """A file as a server would offer it, and its URL."""
    file = tmp_path / "published.txt"
    file.write_text("to be or not to be")
    return file.as_uri()


def test_a_missing_file_is_fetched_only_when_asked_and_only_once(tmp_path, published):
    with pytest.raises(FileNotFoundError, match="download=true"):
        obtain("set/a.txt", data_root=tmp_path, url=published)
    file = obtain("set/a.txt", data_root=tmp_path, url=published, download=True)
    assert file.read_text() == "to be or not to be"
    assert obtain("set/a.txt", data_root=tmp_path, url="file:///nowhere", download=True) == file


def test_a_file_that_is_not_the_expected_one_is_refused(tmp_path, published):
    right = hashlib.sha256(b"to be or not to be").hexdigest()
    obtain("set/a.txt", data_root=tmp_path, url=published, sha256=right, download=True)
    with pytest.raises(ValueError, match="not the file that was expected"):
        obtain("set/a.txt", data_root=tmp_path, url=published, sha256="0" * 64)


def test_a_failed_download_leaves_nothing_and_names_the_url(tmp_path):
    with pytest.raises(ValueError, match=r"cannot fetch file:///nowhere/a.txt"):
        obtain("set/a.txt", data_root=tmp_path, url="file:///nowhere/a.txt", download=True)
    assert list((tmp_path / "set").iterdir()) == []
