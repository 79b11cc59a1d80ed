import hashlib
import zipfile

import pytest

from omniformer.data.sets import sentence_polarity
from omniformer.data.sets.sentence_polarity import SentencePolarity


def lines(word, n):
    return "".join(f"{word} {i} . \n" for i in range(n))


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Offers an archive for download; returns a root without data."""

    def publish(negative=None, positive=None):
        file = tmp_path / "published.zip"
        with zipfile.ZipFile(file, "w") as archive:
            for kind, text in (("neg", negative), ("pos", positive)):
                if text is not None:
                    archive.writestr(f"sentence_polarity/rt-polarity.{kind}", text)
        monkeypatch.setattr(sentence_polarity, "URL", file.as_uri())
        monkeypatch.setattr(sentence_polarity, "SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
        return str(tmp_path / "root")

    return publish


def test_lines_are_split_by_their_last_digit_within_each_class(publish):
    source = SentencePolarity(data_root=publish(lines("bad", 12), lines("clichés", 3)), download=True)
    ids = {name: [raw.id for raw in source.split(name)] for name in ("train", "val", "test")}
    assert ids["test"] == [f"sentence_polarity/test/{place}" for place in ("neg-0", "neg-10", "pos-0")]
    assert ids["val"] == [f"sentence_polarity/val/{place}" for place in ("neg-1", "neg-11", "pos-1")]
    assert [id.split("-")[1] for id in ids["train"]] == [*map(str, range(2, 10)), "2"]
    last = source.split("train")[-1]
    assert (last.contents, int(last.targets["label"])) == ({"text": "clichés 2 ."}, 1)


def test_the_archive_is_fetched_only_when_asked_and_only_once(publish, tmp_path, listed):
    root = publish(lines("bad", 3), lines("good", 3))
    with pytest.raises(FileNotFoundError, match=r"sentence_polarity\.zip.*download=true"):
        SentencePolarity(data_root=root).split("train")
    fetched = listed(SentencePolarity(data_root=root, download=True))
    (tmp_path / "published.zip").unlink()
    assert listed(SentencePolarity(data_root=root)) == fetched


@pytest.mark.parametrize(
    ("negative", "positive", "message"),
    [
        ("bad\n\nworse\n", "good\n", r"neg'?: line 2 is empty"),
        ("bad\n", None, "has no file 'sentence_polarity/rt-polarity.pos'"),
        ("bad\n", b"clich\xe9\n", "rt-polarity.pos' is not UTF-8 text"),
    ],
)
def test_wrong_files_in_the_archive_are_told_by_name(publish, negative, positive, message):
    with pytest.raises(ValueError, match=rf"sentence_polarity\.zip.*{message}"):
        SentencePolarity(data_root=publish(negative, positive), download=True).split("train")


def test_another_archive_is_refused(publish, tmp_path):
    root = publish(lines("bad", 3), lines("good", 3))
    (tmp_path / "root/sentence_polarity").mkdir(parents=True)
    (tmp_path / "root/sentence_polarity/sentence_polarity.zip").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"sentence_polarity\.zip is not the file that was expected"):
        SentencePolarity(data_root=root).split("train")


def test_the_real_set_is_balanced_and_free_of_misread_letters(shared_data):
    source = SentencePolarity(data_root=str(shared_data))
    counts = {name: [int(raw.targets["label"]) for raw in source.split(name)] for name in ("train", "val", "test")}
    assert {name: (labels.count(0), labels.count(1)) for name, labels in counts.items()} == {
        "train": (4_264, 4_264),
        "val": (533, 533),
        "test": (534, 534),
    }
    texts = [raw.contents["text"] for name in counts for raw in source.split(name)]
    assert any("cliché" in text for text in texts)
    assert not any("Ã" in text for text in texts)
