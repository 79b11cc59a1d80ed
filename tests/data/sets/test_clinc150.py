import gzip
import hashlib
import json
from collections import Counter

import pytest

from omniformer.data.sets import clinc150
from omniformer.data.sets.clinc150 import Clinc150

QUERIES = {
    "val": [["wake me", "alarm"]],
    "train": [["how do i say cat", "translate"], ["wake me at six", "alarm"], ["say dog", "translate"]],
    "test": [["what is hund", "translate"]],
    "oos_train": [["who won", "oos"]],
    "oos_val": [["how tall is it", "oos"]],
    "oos_test": [["why", "oos"], ["is it art", "oos"]],
}


@pytest.fixture
def root(tmp_path):
    """Writes a data set, packed as laid out here; returns its root."""

    def write(queries):
        (tmp_path / "clinc150").mkdir(exist_ok=True)
        (tmp_path / "clinc150/data_full.json.gz").write_bytes(gzip.compress(json.dumps(queries).encode()))
        return str(tmp_path)

    return write


def test_out_of_scope_queries_are_the_last_class_of_each_split(root):
    source = Clinc150(data_root=root(QUERIES))
    assert source.labels == ("alarm", "translate", "oos")
    assert source.facts == {"n_classes": 3}
    train = [(raw.id, raw.contents["text"], int(raw.targets["label"])) for raw in source.split("train")]
    assert train == [
        ("clinc150/train/0", "how do i say cat", 1),
        ("clinc150/train/1", "wake me at six", 0),
        ("clinc150/train/2", "say dog", 1),
        ("clinc150/oos_train/0", "who won", 2),
    ]
    assert [int(raw.targets["label"]) for raw in source.split("test")] == [1, 2, 2]


def test_without_them_only_the_intents_remain(root):
    source = Clinc150(data_root=root(QUERIES), out_of_scope=False)
    assert source.labels == ("alarm", "translate")
    assert [[raw.id for raw in source.split(name)] for name in ("val", "test")] == [
        ["clinc150/val/0"],
        ["clinc150/test/0"],
    ]


def test_the_original_is_fetched_when_asked_and_gives_the_same_samples(root, tmp_path, monkeypatch, listed):
    content = json.dumps(QUERIES).encode()
    (tmp_path / "published.json").write_bytes(content)
    monkeypatch.setattr(clinc150, "URL", (tmp_path / "published.json").as_uri())
    monkeypatch.setattr(clinc150, "SHA256", hashlib.sha256(content).hexdigest())
    empty = str(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"download=true.*data_full\.json\.gz"):
        Clinc150(data_root=empty).split("train")
    expected = listed(Clinc150(data_root=root(QUERIES)))
    assert listed(Clinc150(data_root=empty, download=True)) == expected
    (tmp_path / "published.json").unlink()
    assert listed(Clinc150(data_root=empty)) == expected


@pytest.mark.parametrize(
    ("key", "queries", "message"),
    [
        ("val", [["", "alarm"]], "entry 1 of 'val', no content: all of text are empty"),
        ("test", [["hi", "alarm"], ["hi"]], r"entry 2 of 'test' is .* expected a list of text, intent"),
        ("val", [["hi", "greeting"]], "entry 1 of 'val': class 'greeting' is not among those of training"),
        ("oos_val", None, "has no list 'oos_val'; it has val, train"),
    ],
)
def test_wrong_queries_are_told_by_their_place(root, key, queries, message):
    with pytest.raises(ValueError, match=rf"data_full\.json\.gz.*{message}"):
        Clinc150(data_root=root(QUERIES | {key: queries})).split("val")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* hold what a row of training holds")
def test_the_real_set_has_the_published_counts(shared_data):
    source = Clinc150(data_root=str(shared_data))
    assert [len(source.split(name)) for name in ("train", "val", "test")] == [15_100, 3_100, 5_500]
    assert source.facts == {"n_classes": 151}
    counts = Counter(int(raw.targets["label"]) for raw in source.split("test"))
    assert counts == Counter(dict.fromkeys(range(150), 30) | {150: 1_000})
    inside = Clinc150(data_root=str(shared_data), out_of_scope=False)
    assert [len(inside.split(name)) for name in ("train", "val", "test")] == [15_000, 3_000, 4_500]
    assert inside.labels == source.labels[:-1]
