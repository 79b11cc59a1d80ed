import gzip
import hashlib

import pytest

from omniformer.data.sets import multi30k
from omniformer.data.sets.multi30k import Multi30k

TEXTS = {
    "train.en.gz": "Two men.\nA dog runs.\n",
    "train.de.gz": "Zwei Männer.\nEin Hund läuft. \n",
    "val.en.gz": "A cat.\n",
    "val.de.gz": "Eine Katze.\n",
    "test_2016_flickr.en.gz": "A tree.\n",
    "test_2016_flickr.de.gz": "Ein Baum.\n",
}


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Offers files for download, by file, with their hashes; returns a root without data."""

    def publish(texts):
        folder = tmp_path / "published"
        folder.mkdir()
        for name, text in texts.items():
            (folder / name).write_bytes(gzip.compress(text.encode()))
        hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in texts}
        monkeypatch.setattr(multi30k, "URL", f"{folder.as_uri()}/")
        monkeypatch.setattr(multi30k, "SHA256", hashes)
        return str(tmp_path / "root")

    return publish


def test_the_content_is_one_language_and_the_answer_the_other(publish):
    root = publish(TEXTS)
    source = Multi30k(data_root=root, download=True)
    train = [(raw.id, raw.contents, raw.answer, raw.targets) for raw in source.split("train")]
    assert train == [
        ("multi30k/train/0", {"text": "Two men."}, {"text": "Zwei Männer."}, {}),
        ("multi30k/train/1", {"text": "A dog runs."}, {"text": "Ein Hund läuft."}, {}),
    ]
    backwards = Multi30k(data_root=root, source="de", target="en").split("test")
    assert [(raw.id, raw.contents, raw.answer) for raw in backwards] == [
        ("multi30k/test/0", {"text": "Ein Baum."}, {"text": "A tree."})
    ]


def test_files_are_fetched_only_when_asked_and_only_once(publish, tmp_path, listed):
    root = publish(TEXTS)
    with pytest.raises(FileNotFoundError, match=r"train\.en\.gz.*download=true"):
        Multi30k(data_root=root).split("train")
    fetched = listed(Multi30k(data_root=root, download=True))
    (tmp_path / "published").rename(tmp_path / "gone")
    assert listed(Multi30k(data_root=root)) == fetched


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "val.de.gz",
            "Eine Katze.\nEin Hund.\n",
            r"val\.en\.gz has 1 rows and .*val\.de\.gz 2, which stand side",
        ),
        ("train.en.gz", "Two men.\n \n", r"train\.en\.gz: line 2 is empty"),
    ],
)
def test_wrong_files_are_told_by_name(publish, name, text, message):
    with pytest.raises(ValueError, match=message):
        Multi30k(data_root=publish(TEXTS | {name: text}), download=True).split("train")


def test_a_damaged_file_is_told_before_it_is_read(publish, tmp_path):
    root = publish(TEXTS)
    Multi30k(data_root=root, download=True).split("train")
    (tmp_path / "root/multi30k/val.de.gz").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"val\.de\.gz is not the file that was expected"):
        Multi30k(data_root=root).split("val")


@pytest.mark.parametrize(("source", "target"), [("en", "en"), ("en", "fr")])
def test_the_languages_are_english_and_german(source, target):
    with pytest.raises(ValueError, match="one must be 'en' and the other 'de'"):
        Multi30k(source=source, target=target)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* hold what a row of training holds")
def test_the_real_set_has_the_published_counts(shared_data):
    source = Multi30k(data_root=str(shared_data))
    assert [len(source.split(name)) for name in ("train", "val", "test")] == [29_000, 1_014, 1_000]
    first = source.split("train")[0]
    assert first.contents == {"text": "Two young, White males are outside near many bushes."}
    assert first.answer == {"text": "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche."}
