from collections import Counter

import numpy as np
import pytest
import torch

from omniformer.data.by_name import known
from omniformer.data.sets import digits_three_ways
from omniformer.data.sets.digits_three_ways import DigitsThreeWays
from omniformer.data.sets.fsdd import PACKED, WORDS

SPLITS = ("train", "val", "test")


@pytest.fixture
def root(tmp_path, spoken_zip, monkeypatch):
    """Six pictures of each digit in every split; the first pixel is the digit, the second the split."""
    splits = {"val": "split == train and row >= 60"}
    monkeypatch.setattr(digits_three_ways, "known", lambda name, **given: known(name, splits=splits, **given))
    labels = np.arange(120, dtype=np.uint8) % 10
    pixels = np.zeros((120, 28, 28), np.uint8)
    pixels[:, 0, 0], pixels[:, 0, 1] = labels, np.arange(120) // 60
    test = pixels[:60].copy()
    test[:, 0, 1] = 2
    (tmp_path / "mnist").mkdir()
    np.savez(tmp_path / "mnist/mnist.npz", x_train=pixels, y_train=labels, x_test=test, y_test=labels[:60])
    spoken_zip(tmp_path / PACKED)
    return str(tmp_path)


def test_picture_sound_and_word_are_of_one_digit_and_of_one_split(root, spoken):
    source = DigitsThreeWays(data_root=root)
    takes = {"train": ("10", "49"), "val": ("5", "9"), "test": ("0", "4")}
    for part, name in enumerate(SPLITS):
        for raw in source.split(name):
            label, clip = int(raw.targets["label"]), raw.id.split("/")[2]
            picture, (waveform, rate) = raw.contents["vision"], raw.contents["audio"]
            assert list(raw.contents) == ["vision", "audio", "text"]
            assert picture.shape == (1, 28, 28)
            assert picture[0, 0, :2].tolist() == [label, part]
            assert (rate, clip[0], clip.rsplit("_", 1)[1] in takes[name]) == (8000, str(label), True)
            assert np.array_equal(waveform.numpy() * 32768, spoken[f"{clip}.wav"])
            assert raw.contents["text"] == WORDS[label]


def test_every_recording_takes_part_equally_often_with_pictures_that_differ(root):
    source = DigitsThreeWays(data_root=root, per_clip=3)
    for name, times in (("train", 3), ("val", 1), ("test", 5)):
        ids = [raw.id for raw in source.split(name)]
        assert len(set(ids)) == len(ids) == 40 * times
        assert set(Counter(id.split("/")[2] for id in ids).values()) == {times}


def test_more_pictures_for_each_recording_keep_those_there_were(root):
    few, many = (DigitsThreeWays(data_root=root, per_clip=n).split("train") for n in (2, 4))
    assert {raw.id for raw in few} < {raw.id for raw in many}
    other = [raw.id.rsplit("/", 1)[1] for raw in few]
    assert len(set(other)) > 30


def test_present_keeps_modalities_and_pairs(root):
    whole = DigitsThreeWays(data_root=root).split("test")
    for present in (["audio", "vision"], ["text"]):
        some = DigitsThreeWays(data_root=root, present=present).split("test")
        assert [raw.id for raw in some] == [raw.id for raw in whole]
        assert all(set(raw.contents) == set(present) for raw in some)
    assert list(DigitsThreeWays(data_root=root, present=["audio", "vision"]).split("val")[0].contents) == [
        "vision",
        "audio",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_clip": 0}, "per_clip=0"),
        ({"per_clip": 7}, "mnist has 6 pictures of the digit 0 in 'train'; 7 are asked for"),
        ({"present": []}, r"present=\[\] must name one or more of vision, audio, text"),
        ({"present": ["smell"]}, r"present=\['smell'\]"),
    ],
)
def test_what_cannot_be_paired_is_told(root, options, message):
    with pytest.raises(ValueError, match=message):
        DigitsThreeWays(data_root=root, **options).split("train")


@pytest.mark.slow
def test_the_real_sets_are_paired(shared_data):
    source = DigitsThreeWays(data_root=str(shared_data), present=["vision", "audio"])
    assert [len(source.split(name)) for name in SPLITS] == [12000, 300, 1500]
    assert torch.stack([raw.targets["label"] for raw in source.split("test")]).bincount().tolist() == [150] * 10
