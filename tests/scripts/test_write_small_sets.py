"""Small sets of pictures are made of larger ones, the same ones each time."""

import importlib.util
from pathlib import Path

import pytest
import torch

from omniformer.data import ImageFolder
from omniformer.data.source import Raw, Source

PATH = Path(__file__).resolve().parents[2] / "scripts" / "write_small_sets.py"


@pytest.fixture(scope="module")
def small():
    spec = importlib.util.spec_from_file_location("write_small_sets", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Grey(Source):
    """Of three classes: the brightness is the number of the picture."""

    labels = ("cat", "dog & co", "owl")

    def split(self, name):
        return [
            Raw(
                id=f"{name}/{n}",
                contents={"vision": torch.full((1, 4, 4), n, dtype=torch.uint8)},
                targets={"label": torch.tensor(n % 3)},
            )
            for n in range({"train": 90, "val": 60, "test": 30}[name])
        ]


def test_so_many_of_each_of_some_classes_are_written_and_read_again(small, tmp_path):
    small.write(tmp_path, Grey(), n_train=12, n_classes=2, channels=1)
    read = ImageFolder(root=str(tmp_path))
    assert read.labels == ("cat", "dog_and_co")
    assert [len(read.split(split)) for split in ("train", "val", "test")] == [24, 20, 20]


def test_which_ones_depends_on_their_ids_alone(small):
    raws = Grey().split("train")
    first, again = (small.chosen(order, 5) for order in (raws, raws[::-1]))
    assert [[raw.id for raw in first[label]] for label in range(3)] == [
        [raw.id for raw in again[label]] for label in range(3)
    ]
    assert [raw.id for raw in first[0]] != [raw.id for raw in raws if int(raw.targets["label"]) == 0][:5]
