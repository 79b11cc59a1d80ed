"""Small sets of pictures and texts are made of larger ones, the same ones each time."""

import csv
import importlib.util
import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from omniformer_tokenizers.vision.pixels import read_pixels
from PIL import ImageChops

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


class Heard(Grey):
    def split(self, name):
        form = b"RIFF" if name == "train" else b"OggS"
        return [replace(raw, contents={"audio": form + raw.id.encode()}) for raw in super().split(name)]


def test_sounds_are_written_as_the_files_that_they_are(small, tmp_path):
    small.write_sounds(tmp_path, Heard(), n_train=12)
    files = Counter("/".join(file.relative_to(tmp_path).parts[:2]) + file.suffix for file in tmp_path.rglob("*.*"))
    assert files == {
        f"{split}/{label}.{form}": n
        for label in ("cat", "dog_&_co", "owl")
        for split, form, n in (("train", "wav", 12), ("val", "ogg", 20), ("test", "ogg", 10))
    }
    written = {file.read_bytes() for file in tmp_path.rglob("*.ogg")}
    assert written == {raw.contents["audio"] for split in ("val", "test") for raw in Heard().split(split)}


def test_padded_sounds_are_a_second_in_which_they_stand_somewhere(small):
    stream = io.BytesIO()
    soundfile.write(stream, np.full(2_000, 0.5), 8_000, format="WAV")
    samples, rate = soundfile.read(io.BytesIO(small.padded(stream.getvalue(), "one")))
    (loud,) = np.nonzero(samples > 0.25)
    assert (rate, len(samples), len(loud), loud[-1] - loud[0]) == (8_000, 8_000, 2_000, 1_999)
    assert 0 < abs(samples[samples < 0.25]).max() < 0.03
    assert small.padded(stream.getvalue(), "one") != small.padded(stream.getvalue(), "two")


class Said(Grey):
    labels = ("owl", "cat", "dog & co")

    def split(self, name):
        return [replace(raw, contents={"text": f'a "text", {raw.id}'}) for raw in super().split(name)]


def test_texts_are_written_as_a_table_of_some_of_training_and_all_of_the_rest(small, tmp_path):
    small.write_texts(tmp_path / "new" / "said.csv", Said(), n_train=12, n_classes=2)
    rows = list(csv.DictReader((tmp_path / "new" / "said.csv").read_text().splitlines()))
    counted = Counter((row["split"], row["kind"]) for row in rows)
    assert counted == {
        (split, kind): n for split, n in (("train", 12), ("val", 20), ("test", 10)) for kind in ("cat", "dog & co")
    }
    assert {row["text"] for row in rows if row["split"] == "test" and row["kind"] == "cat"} == {
        f'a "text", test/{n}' for n in range(1, 30, 3)
    }


def test_which_ones_depends_on_their_ids_alone(small):
    raws = Grey().split("train")
    first, again = (small.chosen(order, 5) for order in (raws, raws[::-1]))
    assert [[raw.id for raw in first[label]] for label in range(3)] == [
        [raw.id for raw in again[label]] for label in range(3)
    ]
    assert [raw.id for raw in first[0]] != [raw.id for raw in raws if int(raw.targets["label"]) == 0][:5]


def test_enlarged_pictures_differ_in_size_by_their_ids_and_are_photos(small, tmp_path):
    small.write(tmp_path, Grey(), n_train=12, n_classes=2, channels=1, change=small.enlarged)
    small.write(tmp_path / "again", Grey(), n_train=12, n_classes=2, channels=1, change=small.enlarged)
    first, again = (
        [read_pixels(file, 1).shape[1:] for file in sorted((folder / "train" / "cat").glob("*.jpg"))]
        for folder in (tmp_path, tmp_path / "again")
    )
    assert first == again and len(first) == 12 and len({*first}) > 6
    assert all(160 <= side <= 320 for each in first for side in each)


def test_characters_are_drawn_by_other_hands_in_each_split_and_never_twice_the_same(small, tmp_path):
    small.write_characters(tmp_path, n_classes=3)
    read = ImageFolder(root=str(tmp_path))
    assert [len(read.split(split)) for split in ("train", "val", "test")] == [42, 12, 12]
    pictures = [read_pixels(file, 1) for file in tmp_path.rglob("*.png")]
    assert {image.shape for image in pictures} == {(1, 105, 105)}
    assert len({image.numpy().tobytes() for image in pictures}) == 66


def test_a_character_is_nearer_to_itself_by_another_hand_than_to_others_on_average(small):
    chances = [small.random.Random(n) for n in range(6)]
    strokes = [small.character(chance) for chance in chances]
    one, two = ([small.drawn(each, hand, n) for n, each in enumerate(strokes)] for hand in ("one", "two"))
    apart = torch.tensor([[sum(ImageChops.difference(a, b).histogram()[128:]) for b in two] for a in one]).float()
    assert apart.diagonal().mean() < (apart.sum() - apart.trace()) / 30
