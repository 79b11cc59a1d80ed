import pickle
from itertools import pairwise

import pytest
import torch

from omniformer.data import Digits, MovingDigits
from omniformer.data.sets.moving_digits import DIRECTIONS


def moved(clip, rows, columns):
    """Whether each frame is the last one, moved so many rows and columns, pixel by pixel."""
    n = clip.shape[-1]
    return all(
        later[0, i, j] == frame[0, (i - rows) % n, (j - columns) % n]
        for frame, later in pairwise(clip)
        for i in range(n)
        for j in range(n)
    )


@pytest.mark.parametrize("speed", [1, 3])
def test_a_digit_moves_as_its_class_says(speed):
    ways = {"right": (0, 1), "down": (1, 0), "left": (0, -1), "up": (-1, 0)}
    source = MovingDigits(source=Digits(), frames=3, size=12, speed=speed)
    assert source.facts == {"n_classes": 8} and source.name == "MovingDigits of Digits"
    seen = set()
    for raw in list(source.split("val"))[:60]:
        name = DIRECTIONS[raw.targets["label"]]
        rows = sum(ways[word][0] for word in name.split()) * speed
        columns = sum(ways[word][1] for word in name.split()) * speed
        assert moved(raw.contents["video"], rows, columns), raw.id
        seen.add(name)
    assert seen == set(DIRECTIONS)


def test_every_frame_holds_the_picture_and_ids_and_splits_are_those_of_the_set():
    for name in ("train", "val", "test"):
        plain, clips = Digits().split(name), MovingDigits(source=Digits()).split(name)
        assert [each.id for each in clips] == [each.id for each in plain]
    clip = clips[5].contents["video"]
    assert clip.shape == (8, 1, 16, 16) and clip.dtype == torch.uint8
    wanted = plain[5].contents["vision"].flatten().sort().values
    for frame in clip:
        assert torch.equal(frame.flatten().sort().values[-64:], wanted)
    assert torch.equal(pickle.loads(pickle.dumps(clips))[5].contents["video"], clip)


def test_no_frame_tells_the_direction():
    """Where the digit stands in the first frame, and in the last, is alike for all directions."""
    source = MovingDigits(source=Digits(), frames=6)
    for frame in (0, 5):
        counts = torch.zeros(8, 4)
        for raw in source.split("train"):
            heavy = raw.contents["video"][frame, 0].float()
            row, column = heavy.sum(1).argmax(), heavy.sum(0).argmax()
            counts[raw.targets["label"], 2 * (row >= 8) + (column >= 8)] += 1
        expected = counts.sum(1, keepdim=True) * counts.sum(0) / counts.sum()
        assert float(((counts - expected) ** 2 / expected).sum()) < 46.8  # chi-squared of 21, one in a thousand


def test_a_picture_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="a picture of 8 x 8 pixels does not fit size=7; give 8"):
        MovingDigits(source=Digits(), size=7).split("val")[0]
    with pytest.raises(ValueError, match="frames=0"):
        MovingDigits(source=Digits(), frames=0)
