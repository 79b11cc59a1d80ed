"""A run says how many samples there are, how many of each class, and what some of them lack."""

import pytest
import torch

import omniformer.data.told as module
from omniformer.data import Stream
from omniformer.data.source import Raw, Source
from omniformer.data.told import told


class Pets(Source):
    def __init__(self, numbers, labels, raw=None):
        self.numbers, self._labels, self.raw = numbers, labels, raw or (lambda n: {})

    @property
    def labels(self):
        return self._labels

    def split(self, name):
        numbers = self.numbers if name == "train" else [0] * {"val": 0, "test": 7}[name]
        return [
            Raw(id=f"{name}{i}", **{"contents": {"vision": 1}, "targets": {"label": torch.tensor(n)}} | self.raw(i))
            for i, n in enumerate(numbers)
        ]


def of(*given, **known):
    return told("pets", Stream(source=Pets(*given, **known))).splitlines()


def test_samples_of_each_split_and_of_each_of_few_classes():
    lines = of([0] * 1200 + [1], ("cat", "dog", "owl"))
    assert lines == ["pets: 1,201 samples train, 0 validate, 7 test", "  3 classes: cat 1,200, dog 1, owl 0"]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (list(range(20)), "20 classes, each 1"),
        ([0, *range(20)], "20 classes, from 1 (c1) to 2 (c0)"),
        (list(range(15)), "20 classes, from 0 (c15) to 1 (c14); 5 without any: c15, c16, c17, ..."),
    ],
)
def test_of_many_classes_the_rarest_and_those_without_a_sample(numbers, expected):
    assert of(numbers, tuple(f"c{i}" for i in range(20)))[1] == f"  {expected}"


def test_without_classes_none_are_told():
    assert of([0, 0], ()) == ["pets: 2 samples train, 0 validate, 7 test"]


def test_what_some_samples_lack_is_counted():
    def raw(i):
        contents = {"vision": 1} if i else {"vision": 1, "audio": 2}
        values = torch.tensor([float("nan")] * 2 if i == 3 else [1.0, float("nan")])
        return {"contents": contents, "targets": {"labels": values}}

    lines = of([0] * 4, ("toxic", "new"), raw=raw)
    assert lines[1:] == ["  2 questions", "  missing in training: audio of 3, labels of 1"]


def test_samples_that_cannot_be_read_are_counted_and_left_to_the_run(monkeypatch):
    class Torn(list):
        def __getitem__(self, place):
            if place == 1:
                raise ValueError("torn")
            return super().__getitem__(place)

    source, split = Pets([0, 1, 1], ("cat", "dog")), Pets.split
    monkeypatch.setattr(Pets, "split", lambda self, name: Torn(split(self, name)))
    lines = told("pets", Stream(source=source)).splitlines()
    assert lines[1:] == ["  2 classes: cat 1, dog 1", "  missing in training: 1 samples that cannot be read"]


def test_of_very_many_samples_some_are_looked_at_and_this_is_said(monkeypatch):
    monkeypatch.setattr(module, "_LOOKED", 10)
    lines = of([0, 1] * 15, ("cat", "dog"))  # every third
    assert lines[1:] == ["  2 classes: cat 5, dog 5 (of 10 samples that were looked at)"]


def test_a_stream_that_passes_by_once_is_not_read(monkeypatch):
    monkeypatch.setattr(Pets, "passes", 5)
    source = Pets([0] * 5, ("cat", "dog"))
    lines = told("pets", Stream(source=source, window=1)).splitlines()
    assert lines[1:] == ["  2 classes, not counted: the samples pass by once"]
