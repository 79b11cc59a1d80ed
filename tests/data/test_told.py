"""A run says how many samples and classes there are, and reads none of them for it."""

from omniformer.data import Stream
from omniformer.data.source import Source
from omniformer.data.told import told


class Unread(Source):
    labels = ("cat", "dog")

    def split(self, name):
        return range({"train": 1200, "val": 0, "test": 7}[name])


def test_samples_of_each_split_and_classes():
    assert told("pets", Stream(source=Unread())) == "pets: 1,200 samples train, 0 validate, 7 test; 2 classes"


def test_without_classes_none_are_told(monkeypatch):
    monkeypatch.setattr(Unread, "labels", ())
    assert told("pets", Stream(source=Unread())) == "pets: 1,200 samples train, 0 validate, 7 test"
