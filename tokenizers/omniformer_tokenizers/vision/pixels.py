"""Pixels of any raw image as one kind of tensor, checked; and images of other sizes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from omniformer_tokenizers.colours import image_tensor
from omniformer_tokenizers.limits import MAX_PIXELS, check_size
from omniformer_tokenizers.media import read_image

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def read_pixels(raw: Any, channels: int) -> Tensor:
    """Any accepted raw image as uint8 0..255 or float32 0..1 `[channels, height, width]`.

    Raises:
        TypeError: not a tensor, a Pillow image, a path or bytes.
        ValueError: a tensor of another shape or dtype.
        MediaError: a file that cannot be decoded.
    """
    if isinstance(raw, str | Path | bytes):
        raw = read_image(raw, mode=colour_mode(channels))
    elif hasattr(raw, "getbands"):
        raw = image_tensor(raw, mode=colour_mode(channels))
    if isinstance(raw, Tensor) and raw.ndim == 2 and channels == 1:
        raw = raw[None]
    return checked(raw, (f"channels={channels}", "height", "width"))


def alike(images: Sequence[Tensor]) -> list[list[int]]:
    """The places of images that are of one shape and type, and so can be worked on together.

    Example:
        >>> alike([torch.zeros(1, 2, 2), torch.zeros(1, 3, 2), torch.ones(1, 2, 2)])
        [[0, 2], [1]]
    """
    places: dict[object, list[int]] = {}
    for place, image in enumerate(images):
        places.setdefault((image.shape, image.dtype), []).append(place)
    return list(places.values())


def unit_range(pixels: Tensor) -> Tensor:
    """Pixels as float32 0..1."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels


def checked(raw: Any, axes: tuple[str, ...]) -> Tensor:
    """Pixels as they are (floats as float32), once it is sure that they have these axes.

    Raises:
        TypeError: not a tensor.
        ValueError: another shape, a dtype that is neither uint8 nor float, or numbers that are not finite.
    """
    if not isinstance(raw, Tensor):
        raise TypeError(f"received {type(raw).__name__}; expected a tensor, a Pillow image, a path or bytes")
    sizes = [int(axis.partition("=")[2]) if "=" in axis else None for axis in axes]
    if raw.ndim != len(axes) or any(size not in (None, n) for size, n in zip(sizes, raw.shape, strict=True)):
        raise ValueError(f"received shape {list(raw.shape)}; expected [{', '.join(axes)}]")
    if raw.dtype == torch.uint8:
        return raw
    if not raw.is_floating_point():
        raise ValueError(f"received {raw.dtype}; expected uint8 (0..255) or floats (0..1)")
    if not torch.isfinite(raw).all():
        raise ValueError("the picture holds numbers that are not finite")
    return raw.float()


def colour_mode(channels: int) -> str:
    """Pillow's name for pixels of so many channels."""
    return _MODES[channels]


def check_colours(channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
    """Refuses numbers of channels that no picture has, and mean or std that do not fit them.

    Raises:
        ValueError: as said.
    """
    if channels not in _MODES:
        raise ValueError(f"channels={channels} is not known; choose 1 (grey), 3 (colour) or 4 (with transparency)")
    for name, numbers in {"mean": mean, "std": std}.items():
        if len(numbers) not in (1, channels):
            raise ValueError(f"{name} has {len(numbers)} numbers; give 1 or one for each of {channels} channels")
    if min(std) <= 0:
        raise ValueError(f"std={tuple(std)} must be positive")


def resized(image: Tensor, size: tuple[int, ...], how: Literal["stretch", "contain", "cover"] = "stretch") -> Tensor:
    """An image 0..1 brought to `size`: without regard to its aspect ratio, within it, or filling it and cut to it."""
    height, width = image.shape[1:]
    if how == "stretch":
        return interpolated(image, *size)
    ratios = size[0] / height, size[1] / width
    scale = min(ratios) if how == "contain" else max(ratios)
    target = max(1, round(height * scale)), max(1, round(width * scale))
    if how == "contain":
        return interpolated(image, *target)
    target = max(target[0], size[0]), max(target[1], size[1])
    top, left = (target[0] - size[0]) // 2, (target[1] - size[1]) // 2
    return interpolated(image, *target)[:, top : top + size[0], left : left + size[1]]


def check_area(image: Tensor, height: int, width: int) -> None:
    """Refuses to bring an image to a size that memory does not bear: of one row, a large square wants millions.

    Raises:
        ValueError: the new size, or what lies between, has more than `limits.MAX_PIXELS` pixels.
    """
    area = max(height, image.shape[-2]) * width  # widths are changed first
    old = " x ".join(map(str, image.shape[-2:]))
    what = f"{old} pixels to be resized or padded to {height} x {width}"
    check_size(what, area, "pixels", limit=MAX_PIXELS, free=MAX_PIXELS, n_bytes=0)


def interpolated(image: Tensor, height: int, width: int) -> Tensor:
    """An image 0..1 of another size, bilinear, averaging where it shrinks."""
    if image.shape[1:] == (height, width):
        return image.clamp(0, 1)
    check_area(image, height, width)
    return functional.interpolate(image[None], (height, width), mode="bilinear", antialias=True)[0].clamp(0, 1)
