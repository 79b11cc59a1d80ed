"""Random changes of pictures that leave their classes as they are.

What torchvision has is torchvision's, with all of its randomness from a sample's own generator.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from omniformer_tokenizers import Tokenizer
from omniformer_tokenizers.vision.pixels import alike, read_pixels
from torch import Generator, Tensor
from torch.nn import functional

from omniformer.core import checks
from omniformer.core.ranges import Count, NotNegative, Positive, Share, SomeShare
from omniformer.data.augment.augmentation import Augmentation

Picture = Tensor | str | Path | bytes
_COLOUR = 3  # channels


class PictureAugmentation(Augmentation):
    """A change of pictures, read where they are files.

    Args:
        channels: how files are decoded: 1, 3 or 4; None as the tokenizer of the run has them, else in colour. Tensors
            keep theirs.

    Raises:
        ValueError: there are no pictures of so many channels.
    """

    def __init__(self, *, channels: Literal[1, 3, 4] | None = None) -> None:
        if channels not in (None, 1, 3, 4):
            raise ValueError(f"channels={channels} is not known; choose 1, 3 or 4, or null: as the tokenizer")
        self.channels = channels

    def before(self, tokenizer: Tokenizer) -> Augmentation:
        if self.channels is not None:
            return self
        same = copy(self)
        same.channels = getattr(tokenizer, "channels", None)
        return same

    def read(self, image: Picture) -> Tensor:
        """The pixels of a picture.

        Raises:
            MediaError: a file cannot be read as a picture.

        Shapes:
            uint8 0..255 or float 0..1 `[channels, height, width]`.
        """
        return image if isinstance(image, Tensor) and image.ndim == 3 else read_pixels(image, self.channels or _COLOUR)


class ImageJitter(PictureAugmentation):
    """Shifts, turns, scales and mirrors a picture a little, and adds noise; one sampling of the pixels does it all.

    Args:
        shift: the farthest shift in each direction, as a share of the side.
        rotate: the largest turn either way, in degrees.
        scale: the largest change of size either way, as a share: 0.1 gives 0.9 to 1.1.
        flip: how likely the picture is mirrored left to right; leave 0 where that changes the class, as with digits.
        noise: standard deviation of the noise, as a share of the full brightness.
        channels: how files are decoded: 1, 3 or 4; None as the tokenizer of the run has them, else in colour. Tensors
            keep theirs.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> image = torch.zeros(1, 8, 8, dtype=torch.uint8)
        >>> ImageJitter(rotate=10)(image, torch.Generator().manual_seed(0)).shape
        torch.Size([1, 8, 8])
    """

    def __init__(
        self,
        *,
        shift: Share = 0.0,
        rotate: Annotated[float, Interval(ge=0, le=180)] = 0.0,
        scale: Annotated[float, Interval(ge=0, le=0.9)] = 0.0,
        flip: Share = 0.0,
        noise: Share = 0.0,
        channels: Literal[1, 3, 4] | None = None,
    ) -> None:
        super().__init__(channels=channels)
        checks.share(shift=shift, flip=flip, noise=noise)
        if not 0 <= rotate <= 180:
            raise ValueError(f"rotate={rotate} must be in 0 to 180")
        if not 0 <= scale <= 0.9:
            raise ValueError(f"scale={scale} must be in 0 to 0.9")
        self.shift = shift
        self.rotate = rotate
        self.scale = scale
        self.flip = flip
        self.noise = noise

    def __call__(self, image: Picture, generator: Generator) -> Tensor:
        """The changed picture; all randomness comes from `generator`.

        Raises:
            MediaError: a file cannot be read as a picture.

        Shapes:
            image uint8 0..255 or float 0..1 `[channels, height, width]`, or a file; the result has its shape and dtype.
        """
        return self.many([image], [generator])[0]

    def many(self, raws: Sequence[Picture], generators: Sequence[Generator]) -> list[Tensor]:
        """The changed pictures; those of one size are sampled together."""
        images = [self.read(raw) for raw in raws]
        for places in alike(images):
            moved = self._moved(torch.stack([images[i] for i in places]), [generators[i] for i in places])
            for place, image in zip(places, moved, strict=True):
                images[place] = image
        return images

    def _moved(self, images: Tensor, generators: Sequence[Generator]) -> Tensor:
        pixels = images.float() / 255 if images.dtype == torch.uint8 else images
        height, width = pixels.shape[-2:]
        moves = torch.tensor([self._move(generator, width / height) for generator in generators])
        grid = functional.affine_grid(moves, list(pixels.shape), align_corners=False)
        moved = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
        if self.noise:
            noise = torch.stack([torch.randn(pixels.shape[1:], generator=generator) for generator in generators])
            moved = (moved + self.noise * noise).clamp(0, 1)
        return (moved * 255).round().to(torch.uint8) if images.dtype == torch.uint8 else moved

    def _move(self, generator: Generator, aspect: float) -> list[list[float]]:
        """Where each pixel is taken from, as an affine map of coordinates -1..1; turns are rigid at any aspect."""
        *drawn, chance = torch.rand(5, generator=generator).tolist()
        right, down, turn, size = (2 * each - 1 for each in drawn)
        mirror = -1.0 if chance < self.flip else 1.0
        angle = math.radians(self.rotate * turn)
        factor = 1 / (1 + self.scale * size)
        cos, sin = factor * math.cos(angle), factor * math.sin(angle)
        return [
            [mirror * cos, -sin / aspect, 2 * self.shift * right],
            [mirror * sin * aspect, cos, 2 * self.shift * down],
        ]


class OfTorchvision(PictureAugmentation):
    """A transform of `torchvision.transforms.v2`, with all of its randomness from the sample's generator.

    Args:
        transform: what is done with uint8 or float pixels.
        channels: as for `PictureAugmentation`.
    """

    def __init__(self, transform: Callable[[Tensor], Tensor], *, channels: Literal[1, 3, 4] | None) -> None:
        super().__init__(channels=channels)
        self.transform = transform

    def __call__(self, image: Picture, generator: Generator) -> Tensor:
        """The changed picture.

        Raises:
            MediaError: a file cannot be read as a picture.
        """
        pixels = self.read(image)
        with drawing_from(generator):
            return self.transform(pixels)


class RandAugment(OfTorchvision):
    """Some of fourteen changes of place and colour, all of one strength
    ([Cubuk et al. 2019](https://arxiv.org/abs/1909.13719)).

    They shift, turn and shear, and change colours as far as inverting the bright ones: look whether the class stays.

    Args:
        n_ops: how many changes a picture goes through.
        magnitude: their strength, 0 to 30.
        channels: how files are decoded: 1, 3 or 4; None as the tokenizer of the run has them, else in colour. Tensors
            keep theirs.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> image = torch.zeros(3, 32, 32, dtype=torch.uint8)
        >>> RandAugment()(image, torch.Generator().manual_seed(0)).shape
        torch.Size([3, 32, 32])
    """

    def __init__(
        self,
        *,
        n_ops: Count = 2,
        magnitude: Annotated[int, Interval(ge=0, le=30)] = 9,
        channels: Literal[1, 3, 4] | None = None,
    ) -> None:
        checks.counts(n_ops=n_ops)
        if not 0 <= magnitude <= 30:
            raise ValueError(f"magnitude={magnitude} must be in 0 to 30")
        super().__init__(_v2().RandAugment(n_ops, magnitude), channels=channels)


class RandomResizedCrop(OfTorchvision):
    """A random part of a picture, brought to one size (Szegedy et al. 2015).

    Args:
        size: height and width of the result, one number for a square.
        scale: the least and the largest part of the area.
        ratio: the least and the largest ratio of width to height.
        channels: how files are decoded: 1, 3 or 4; None as the tokenizer of the run has them, else in colour. Tensors
            keep theirs.

    Raises:
        ValueError: a number is out of its range, or a least one exceeds the largest.

    Example:
        >>> RandomResizedCrop(size=16)(torch.zeros(3, 32, 40), torch.Generator().manual_seed(0)).shape
        torch.Size([3, 16, 16])
    """

    def __init__(
        self,
        *,
        size: Count | tuple[Count, Count],
        scale: tuple[SomeShare, SomeShare] = (0.08, 1.0),
        ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3),
        channels: Literal[1, 3, 4] | None = None,
    ) -> None:
        sides = (size, size) if isinstance(size, int) else (size[0], size[1])
        checks.counts(height=sides[0], width=sides[1])
        _ascending(scale=scale, ratio=ratio)
        checks.share(scale=scale[1])
        super().__init__(_v2().RandomResizedCrop(sides, tuple(scale), tuple(ratio)), channels=channels)


class RandomFlip(OfTorchvision):
    """Mirrors a picture.

    Args:
        horizontal: how likely left and right change places.
        vertical: how likely top and bottom do.
        channels: how files are decoded: 1, 3 or 4; None as the tokenizer of the run has them, else in colour. Tensors
            keep theirs.

    Raises:
        ValueError: a number is no share.
    """

    def __init__(
        self, *, horizontal: Share = 0.5, vertical: Share = 0.0, channels: Literal[1, 3, 4] | None = None
    ) -> None:
        checks.share(horizontal=horizontal, vertical=vertical)
        v2 = _v2()
        flips = v2.Compose([v2.RandomHorizontalFlip(horizontal), v2.RandomVerticalFlip(vertical)])
        super().__init__(flips, channels=channels)


class ColorJitter(OfTorchvision):
    """Changes brightness, contrast, saturation and hue, in an order of chance.

    Args:
        brightness: the largest change either way, as a share: 0.4 gives 0.6 to 1.4 times.
        contrast: the same.
        saturation: the same; nothing on grey pictures.
        hue: the largest turn of the colour circle either way, as a share of it, up to a half.
        channels: how files are decoded: 1, 3 or 4; None as the tokenizer of the run has them, else in colour. Tensors
            keep theirs.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        *,
        brightness: NotNegative = 0.0,
        contrast: NotNegative = 0.0,
        saturation: NotNegative = 0.0,
        hue: Annotated[float, Interval(ge=0, le=0.5)] = 0.0,
        channels: Literal[1, 3, 4] | None = None,
    ) -> None:
        checks.not_negative(brightness=brightness, contrast=contrast, saturation=saturation)
        if not 0 <= hue <= 0.5:
            raise ValueError(f"hue={hue} must be in 0 to 0.5")
        super().__init__(_v2().ColorJitter(brightness, contrast, saturation, hue), channels=channels)


class RandomErasing(OfTorchvision):
    """Covers a random box of a picture with one grey ([Zhong et al. 2017](https://arxiv.org/abs/1708.04896)).

    Args:
        p: how likely a picture is changed.
        scale: the least and the largest part of the area.
        ratio: the least and the largest ratio of height to width.
        fill: the brightness of the box, as a share; 0.5 is what `PatchTokenizer` makes zeros of by default.
        channels: how files are decoded: 1, 3 or 4; None as the tokenizer of the run has them, else in colour. Tensors
            keep theirs.

    Raises:
        ValueError: a number is out of its range, or a least one exceeds the largest.
    """

    def __init__(
        self,
        *,
        p: Share = 0.5,
        scale: tuple[SomeShare, SomeShare] = (0.02, 0.33),
        ratio: tuple[Positive, Positive] = (0.3, 3.3),
        fill: Share = 0.5,
        channels: Literal[1, 3, 4] | None = None,
    ) -> None:
        checks.share(p=p, fill=fill)
        _ascending(scale=scale, ratio=ratio)
        checks.share(scale=scale[1])
        self._erase = {
            whole: _v2().RandomErasing(p, tuple(scale), tuple(ratio), value=round(fill * 255) if whole else fill)
            for whole in (True, False)
        }
        super().__init__(self._erased, channels=channels)

    def _erased(self, pixels: Tensor) -> Tensor:
        return self._erase[pixels.dtype == torch.uint8](pixels)


@contextmanager
def drawing_from(generator: Generator) -> Iterator[None]:
    """Lets code that draws from torch's own generator draw from this one, and leaves torch's as it was.

    Example:
        >>> a, b = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
        >>> with drawing_from(a):
        ...     drawn = torch.rand(1)
        >>> bool(drawn == torch.rand(1, generator=b)), bool(torch.rand(1, generator=a) == torch.rand(1, generator=b))
        (True, True)
    """
    own = torch.default_generator
    before = own.get_state()
    own.set_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(own.get_state())
        own.set_state(before)


def _v2() -> Any:
    """Torchvision's transforms; they take a second to import, which a run without them is spared."""
    from torchvision.transforms import v2

    return v2


def _ascending(**ranges: Sequence[float]) -> None:
    for name, numbers in ranges.items():
        if len(numbers) != 2 or not 0 < numbers[0] <= numbers[1]:
            raise ValueError(f"{name}={list(numbers)}: give the least and the largest, both above 0")
