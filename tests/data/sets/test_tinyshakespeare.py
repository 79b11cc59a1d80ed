import gzip
import hashlib

import pytest

from omniformer.data.sets import tinyshakespeare
from omniformer.data.sets.tinyshakespeare import TinyShakespeare

TEXT = "First Citizen:\nSpeak, é speak.\n"


@pytest.fixture
def root(tmp_path):
    """Writes a text, packed as laid out here; returns its root."""

    def write(text):
        (tmp_path / "tinyshakespeare").mkdir()
        (tmp_path / "tinyshakespeare/input.txt.gz").write_bytes(gzip.compress(text.encode()))
        return str(tmp_path)

    return write


def test_the_first_nine_tenths_train_and_the_rest_validates(root):
    source = TinyShakespeare(data_root=root(TEXT))
    (train,), (val,) = source.split("train"), source.split("val")
    assert (train.id, val.id) == ("tinyshakespeare/train", "tinyshakespeare/val")
    assert train.contents["text"] + val.contents["text"] == TEXT
    assert len(train.contents["text"]) == int(0.9 * len(TEXT))
    assert list(source.split("test")) == []


def test_the_original_is_fetched_when_asked_and_gives_the_same_samples(root, tmp_path, monkeypatch, listed):
    (tmp_path / "published.txt").write_bytes(TEXT.encode())
    monkeypatch.setattr(tinyshakespeare, "URL", (tmp_path / "published.txt").as_uri())
    monkeypatch.setattr(tinyshakespeare, "SHA256", hashlib.sha256(TEXT.encode()).hexdigest())
    empty = str(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"input\.txt\.gz.*download=true"):
        TinyShakespeare(data_root=empty).split("train")
    assert listed(TinyShakespeare(data_root=empty, download=True)) == listed(TinyShakespeare(data_root=root(TEXT)))
    (tmp_path / "empty/tinyshakespeare/input.txt").write_text("something else")
    with pytest.raises(ValueError, match=r"input\.txt is not the file that was expected"):
        TinyShakespeare(data_root=empty).split("train")


def test_a_text_too_short_to_split_is_told(root):
    with pytest.raises(ValueError, match=r"input\.txt\.gz holds 1 characters"):
        TinyShakespeare(data_root=root("x")).split("train")


def test_the_real_text_has_the_published_length(shared_data):
    source = TinyShakespeare(data_root=str(shared_data))
    (train,), (val,) = source.split("train"), source.split("val")
    assert (len(train.contents["text"]), len(val.contents["text"])) == (1_003_854, 111_540)
    assert len(set(train.contents["text"] + val.contents["text"])) == 65
    assert train.contents["text"].startswith("First Citizen:\nBefore we proceed any further, hear me speak.")
