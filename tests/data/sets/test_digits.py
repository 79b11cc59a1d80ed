from collections import Counter

import torch
from sklearn.datasets import load_digits

from omniformer.data.sets.digits import Digits

SPLITS = ("train", "val", "test")


def test_the_three_splits_hold_every_image_once_unchanged():
    images, labels = load_digits(return_X_y=True)
    raws = [raw for name in SPLITS for raw in Digits().split(name)]
    assert sorted(int(raw.id.split("/")[1]) for raw in raws) == list(range(1797))
    for raw in raws:
        index = int(raw.id.split("/")[1])
        assert torch.equal((raw.contents["vision"].flatten() / 255 * 16).round(), torch.tensor(images[index]).float())
        assert int(raw.targets["label"]) == labels[index]


def test_each_class_is_split_70_10_20():
    counts = {name: Counter(int(raw.targets["label"]) for raw in Digits().split(name)) for name in SPLITS}
    for label in range(10):
        total = sum(counts[name][label] for name in SPLITS)
        for name, share in zip(SPLITS, (0.7, 0.1, 0.2), strict=True):
            assert abs(counts[name][label] - share * total) <= 1


def test_images_are_one_channel_of_bytes_that_use_the_whole_range():
    pixels = torch.stack([raw.contents["vision"] for raw in Digits().split("val")])
    assert pixels.shape[1:] == (1, 8, 8)
    assert pixels.dtype == torch.uint8
    assert (int(pixels.min()), int(pixels.max())) == (0, 255)
