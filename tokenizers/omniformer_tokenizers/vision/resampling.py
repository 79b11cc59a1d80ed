"""Pictures of another size, exactly as published image models were given them."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor
from torch.nn import functional

from omniformer_tokenizers._checks import at_least, one_of
from omniformer_tokenizers.vision.pixels import check_area

_SIDES = ("height", "width")
FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """Resizing and cutting of pictures as the published image processors do it: 8-bit pixels stay 8-bit pixels, rounded
    once after each direction, as Pillow rounds (its filters: Turkowski 1990, "Filters for common resampling tasks").

    A picture of floats is resampled without rounding, and kept within 0..1.

    Args:
        filter: which neighbours make a new pixel, and how much each of them; wider where a picture shrinks.
        size: height and width, whatever the aspect ratio was.
        shortest_edge: length of the shorter side; the aspect ratio stays. Instead of `size`.
        area: least and most pixels of a result, whose sides are multiples of `multiple` and whose aspect ratio is as
            near as that allows (Qwen2-VL, Wang et al. 2024, 2.1). Instead of `size`.
        squares: most squares of `multiple` pixels that a result is cut into; as many as the aspect ratio allows, to
            whose rows and columns it is stretched (SigLIP 2, Tschannen et al. 2025, 3.2). Instead of `size`.
        multiple: of what number the sides are multiples; with `area` and `squares` alone.
        crop: height and width of the middle that is kept, black where the picture is smaller.
        rounded: whether 8-bit pixels stay whole numbers; else what is resampled is a picture of floats in 0..1, as
            DINOv3 wants it.

    Raises:
        ValueError: a size is below 1, the filter is not known, more than one of `size`, `shortest_edge`, `area` and
            `squares` is given, or a picture that is to have an `area` is more than 200 times longer than wide.

    Shapes:
        uint8 or float32 `[channels, height, width]` → the same, or float32 unless `rounded`.

    Example:
        >>> clip = Resampling(filter="bicubic", shortest_edge=8, crop=(8, 8))
        >>> clip(torch.zeros(3, 20, 50, dtype=torch.uint8)).shape
        torch.Size([3, 8, 8])
    """

    filter: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    size: tuple[int, int] | None = None
    shortest_edge: int | None = None
    area: tuple[int, int] | None = None
    squares: int | None = None
    multiple: int = 1
    crop: tuple[int, int] | None = None
    rounded: bool = True

    def __post_init__(self) -> None:
        one_of(FILTERS, filter=self.filter)
        at_least(1, shortest_edge=self.shortest_edge, multiple=self.multiple, squares=self.squares)
        for name, sides in (("size", _SIDES), ("crop", _SIDES), ("area", ("least", "most"))):
            sizes = getattr(self, name)
            if sizes is not None:
                at_least(1, **{f"{name}_{side}": number for side, number in zip(sides, sizes, strict=True)})
                object.__setattr__(self, name, (sizes[0], sizes[1]))
        given = {name: getattr(self, name) for name in ("size", "shortest_edge", "area", "squares")}
        said = [f"{name}={value}" for name, value in given.items() if value is not None]
        if len(said) > 1:
            raise ValueError(f"{' and '.join(said)} say {('two', 'three', 'four')[len(said) - 2]} things; give one")
        if self.area is not None and self.area[0] > self.area[1]:
            raise ValueError(f"area={self.area}: the least is more than the most")
        if self.area is None and self.squares is None and self.multiple > 1:
            raise ValueError(f"multiple={self.multiple} belongs to area= or squares=, of which none is given")

    @classmethod
    def of(cls, described: "Resampling | Mapping[str, Any]") -> Self:
        """From its arguments as plain values, as a saved tokenizer has them."""
        return cls(**(described.config() if isinstance(described, Resampling) else described))

    def __call__(self, image: Tensor) -> Tensor:
        """The picture at its new size; an empty one stays as it is."""
        if not image.numel():
            return image
        if image.dtype == torch.uint8 and not self.rounded:
            image = image.float() / 255
        target = self._target(*image.shape[1:])
        if target != tuple(image.shape[1:]):
            image = _interpolated(image, target, self.filter)
        return image if self.crop is None else _middle(image, *self.crop)

    @property
    def output(self) -> tuple[int, int] | None:
        """Height and width of every result; None where they depend on the picture."""
        return self.crop or self.size

    def giving(self, height: int, width: int) -> Self:
        """The same way of resampling, with results of another size.

        What was cut off around the middle stays the same share. With `shortest_edge`, the shorter side of a picture
        becomes as long as the longer side of the result needs, so that nothing stays black.

        Example:
            >>> Resampling(size=(256, 256), crop=(224, 224)).giving(384, 384).size
            (439, 439)
        """
        crop = None if self.crop is None else (height, width)
        kept = self.output or (height, width)
        if self.size is not None:
            size = round(self.size[0] * height / kept[0]), round(self.size[1] * width / kept[1])
            return replace(self, size=size, crop=crop)
        if self.area is not None or self.squares is not None:
            return replace(self, area=None, squares=None, multiple=1, size=(height, width), crop=crop)
        if self.shortest_edge is not None:
            share = self.shortest_edge / min(self.crop) if self.crop else 1
            return replace(self, shortest_edge=round(share * max(height, width)), crop=(height, width))
        return replace(self, crop=crop) if crop else replace(self, size=(height, width))

    def config(self) -> dict[str, Any]:
        """The arguments, as plain JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def _target(self, height: int, width: int) -> tuple[int, int]:
        if self.size is not None:
            return self.size
        if self.area is not None:
            return _within(height, width, self.area, self.multiple)
        if self.squares is not None:
            return _of_squares(height, width, self.squares, self.multiple)
        if self.shortest_edge is None:
            return height, width
        # The longer side is cut to whole pixels, not rounded, in the processors of the published models.
        if width <= height:
            return int(self.shortest_edge * height / width), self.shortest_edge
        return self.shortest_edge, int(self.shortest_edge * width / height)


def _within(height: int, width: int, area: tuple[int, int], multiple: int) -> tuple[int, int]:
    """The sides of a picture of that many pixels, in the order of rounding of the published models."""
    if max(height, width) > 200 * min(height, width):
        raise ValueError(f"a picture of {height} x {width} pixels is more than 200 times longer than wide; cut it")
    least, most = area
    sides = [round(side / multiple) * multiple for side in (height, width)]
    if sides[0] * sides[1] > most:
        shrink = math.sqrt(height * width / most)
        sides = [max(multiple, math.floor(side / shrink / multiple) * multiple) for side in (height, width)]
    elif sides[0] * sides[1] < least:
        grow = math.sqrt(least / (height * width))
        sides = [math.ceil(side * grow / multiple) * multiple for side in (height, width)]
    return sides[0], sides[1]


def _of_squares(height: int, width: int, most: int, side: int) -> tuple[int, int]:
    """The sides of a picture of at most so many squares, found by halving as the published processor does, so that
    what it rounds is rounded here too.
    """

    def sides(scale: float) -> tuple[int, int]:
        """Height and width, in whole multiples."""
        tall, wide = (max(side, math.ceil(each * scale / side) * side) for each in (height, width))
        return tall, wide

    low, high = 1e-6, 100.0
    while high - low >= 1e-5:
        scale = (low + high) / 2
        tall, wide = sides(scale)
        low, high = (scale, high) if (tall / side) * (wide / side) <= most else (low, scale)
    return sides(low)


def _interpolated(image: Tensor, size: tuple[int, int], filter: str) -> Tensor:
    check_area(image, *size)
    if filter == "nearest":
        return functional.interpolate(image[None], size, mode="nearest-exact")[0]
    resized = functional.interpolate(image[None], size, mode=filter, antialias=True)[0]
    return resized if image.dtype == torch.uint8 else resized.clamp(0, 1)


def _middle(image: Tensor, height: int, width: int) -> Tensor:
    """The middle of a picture, with black around it where it is too small."""
    down, across = max(height - image.shape[1], 0), max(width - image.shape[2], 0)
    image = functional.pad(image, (across // 2, (across + 1) // 2, down // 2, (down + 1) // 2))
    top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
    return image[:, top : top + height, left : left + width]
