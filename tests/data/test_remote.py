import pytest

from omniformer.data.remote import Remote


def test_what_lies_at_an_address_is_read():
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://a.txt", "wb") as stream:
        stream.write(b"here")
    assert Remote("memory://a.txt").read() == b"here"


def test_an_address_where_nothing_lies_is_named():
    with pytest.raises(ValueError, match=r"'memory://nothing\.txt' cannot be fetched"):
        Remote("memory://nothing.txt").read()


def test_more_than_is_fetched_is_refused(monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setattr("omniformer.data.remote._MOST_BYTES", 3)
    with fsspec.open("memory://b.txt", "wb") as stream:
        stream.write(b"long")
    with pytest.raises(ValueError, match="more than 3 bytes"):
        Remote("memory://b.txt").read()
