"""Clips of handwritten digits that move: which way one goes stands in no single frame."""

from collections.abc import Sequence
from functools import partial

import torch

from omniformer.core import checks
from omniformer.core.ranges import Count
from omniformer.data.random import generator
from omniformer.data.sets.on_access import OnAccess
from omniformer.data.source import Raw, Source, Split

DIRECTIONS = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")
_STEPS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))  # rows and columns, as DIRECTIONS


class MovingDigits(Source):
    """A clip of each picture of another set, which moves evenly in one of eight directions, the class of the clip.

    After Moving MNIST ([Srivastava et al. 2015](https://arxiv.org/abs/1502.04681)), where digits bounce off borders.
    Here what leaves a frame on one side comes in on the other, so that a digit is as likely anywhere in every frame of
    every class: a model that sees one frame can only guess. Ids and splits stay those of the other set; direction and
    start are drawn once for each id.

    Args:
        source: a set of pictures that are tensors of one channel, `Digits` (8 x 8 pixels, needs no files) or MNIST.
        frames: how many frames a clip has.
        size: height and width of a frame, in pixels.
        speed: pixels from one frame to the next, down, across or both.

    Raises:
        ValueError: a number is below 1; once samples are asked for: a picture is larger than a frame.

    Shapes:
        `video` uint8 `[frames, 1, size, size]`, `label` int64 `[]`.

    Example:
        >>> from omniformer.data import Digits
        >>> raw = MovingDigits(source=Digits(), frames=4).split("val")[0]
        >>> raw.contents["video"].shape, DIRECTIONS[raw.targets["label"]]
        (torch.Size([4, 1, 16, 16]), 'down right')
    """

    modalities = ("video",)

    def __init__(self, *, source: Source, frames: Count = 8, size: Count = 16, speed: Count = 1) -> None:
        checks.counts(frames=frames, size=size, speed=speed)
        self.source, self.frames, self.size, self.speed = source, frames, size, speed

    @property
    def name(self) -> str:
        """The name of the data set, for messages."""
        return f"{type(self).__name__} of {self.source.name}"

    @property
    def labels(self) -> tuple[str, ...]:
        """The directions, in the order of the targets."""
        return DIRECTIONS

    def split(self, name: Split) -> Sequence[Raw]:
        """The clips of one split, in the order of the other set; made when they are asked for."""
        raws = self.source.split(name)
        return OnAccess(len(raws), partial(_moving, raws, self.frames, self.size, self.speed))


def _moving(raws: Sequence[Raw], frames: int, size: int, speed: int, number: int) -> Raw:
    raw = raws[number]
    picture = raw.contents["vision"]
    _, height, width = picture.shape
    if max(height, width) > size:
        raise ValueError(f"a picture of {height} x {width} pixels does not fit size={size}; give {max(height, width)}")
    chance = generator(0, 0, raw.id, "motion")
    direction = int(torch.randint(len(DIRECTIONS), (), generator=chance))
    start, step = torch.randint(size, (2,), generator=chance), speed * torch.tensor(_STEPS[direction])
    frame = torch.zeros(1, size, size, dtype=picture.dtype)
    frame[:, :height, :width] = picture
    clip = [frame.roll((start + i * step).tolist(), (1, 2)) for i in range(frames)]
    return Raw(id=raw.id, contents={"video": torch.stack(clip)}, targets={"label": torch.tensor(direction)})
