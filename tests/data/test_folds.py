from collections import Counter

import pytest
import torch

from omniformer.data.folds import Folds
from omniformer.data.source import Raw, Source
from omniformer.data.stream import Stream
from omniformer.data.table import Table

N, K = 60, 5


class Mine(Source):
    """60 samples of three classes, of which 12 validate, and 8 for the test."""

    def __init__(self, *, labelled: bool = True, backwards: bool = False):
        self.labelled, self.backwards = labelled, backwards

    def split(self, name):
        numbers = {"train": range(N - 12), "val": range(N - 12, N), "test": range(N, N + 8)}[name]
        raws = [Raw(id=f"mine/{i}", contents={"text": str(i)}, targets=self.targets(i)) for i in numbers]
        return raws[::-1] if self.backwards else raws

    def targets(self, i):
        return {"label": torch.tensor(i % 3)} if self.labelled else {}


def ids(raws) -> set[str]:
    return {raw.id for raw in raws}


def folds_of(source, folds=K) -> list[Folds]:
    return [Folds(source, fold=fold, folds=folds) for fold in range(folds)]


@pytest.mark.parametrize("labelled", [True, False])
def test_each_sample_validates_once_and_trains_otherwise(labelled):
    source = Mine(labelled=labelled)
    every = ids(source.split("train")) | ids(source.split("val"))
    validating = Counter(raw.id for each in folds_of(source) for raw in each.split("val"))
    assert validating == Counter(every)
    for each in folds_of(source):
        assert ids(each.split("train")) == every - ids(each.split("val"))
        assert len(each.split("val")) == N / K


def test_classes_are_divided_alike():
    for each in folds_of(Mine()):
        assert Counter(int(raw.targets["label"]) for raw in each.split("val")) == {0: 4, 1: 4, 2: 4}


def test_folds_depend_on_ids_alone_and_not_on_the_order_of_samples():
    for one, other in zip(folds_of(Mine()), folds_of(Mine(backwards=True)), strict=True):
        assert ids(one.split("val")) == ids(other.split("val"))


def test_a_fold_that_would_leave_nothing_is_refused():
    with pytest.raises(ValueError, match="Mine has 60 samples .* of folds=200 would train with 60 and validate"):
        folds_of(Mine(), folds=200)
    with pytest.raises(ValueError, match="fold=5 is not one of 0 to 4"):
        Folds(Mine(), fold=5, folds=5)


@pytest.fixture
def table(tmp_path) -> Table:
    rows = [f"text {i},{'ab'[i % 2]},patient {i // 4}" for i in range(80)]
    (tmp_path / "mine.csv").write_text("\n".join(["words,kind,who", *rows]))
    return Table(files=str(tmp_path / "mine.csv"), columns={"words": "text", "kind": "label", "who": "group"})


def test_what_a_table_keeps_together_is_in_one_fold(table):
    for each in folds_of(table):
        groups = [{int(raw.contents["text"].split()[1]) // 4 for raw in each.split(name)} for name in ("train", "val")]
        assert groups[0] and groups[1] and not groups[0] & groups[1]


def test_a_stream_feeds_a_fold_and_keeps_the_test_split(monkeypatch):
    said = []
    monkeypatch.setattr("omniformer.data.stream.rank_zero_info", said.append)
    stream, whole = Stream(source=Mine(), fold=1, folds=K), Folds(Mine(), fold=1, folds=K)
    for name in ("train", "val"):
        assert [raw.id for raw in stream.raws(name)] == [raw.id for raw in whole.split(name)]
    assert ids(stream.raws("test")) == ids(Mine().split("test"))
    assert said == [
        "Mine: fold 1 of 5 validates with 12 of 48 training and 12 validation samples, 48 train; the 8 of test stay"
    ]


def test_few_labels_are_chosen_within_the_fold():
    stream = Stream(source=Mine(), fold=1, folds=K, train_share=0.25)
    assert len(stream.raws("train")) == 12 and len(stream.raws("val")) == 12
    assert ids(stream.raws("train")) < ids(Folds(Mine(), fold=1, folds=K).split("train"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fold": 10}, "fold=10 must be one of 0 to 9"),
        ({"fold": -1}, "fold=-1 must be one of 0 to 9"),
        ({"folds": 1}, "of at least two folds=1"),
    ],
)
def test_folds_that_there_are_not_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Stream(source=Mine(), **options)
