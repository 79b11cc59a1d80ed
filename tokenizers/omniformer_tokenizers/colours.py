"""Every kind of pixel that Pillow reads, as 8 bits of a wanted colour mode, a few rows at a time."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from omniformer_tokenizers._checks import need

_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION = 0x0112  # of EXIF
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # of TIFF
_PIXELS_AT_ONCE = 1_000_000


class Grey(NamedTuple):
    """What the numbers of deep grey mean: which one is white, and whether they count from white to black."""

    white: float
    inverted: bool
    unsigned: bool  # 32 bits without sign, which Pillow keeps as 32 bits with one


def image_tensor(image: Any, *, mode: str = "RGB") -> Tensor:
    """A Pillow image as a tensor, turned upright by its EXIF orientation.

    The full range of a kind of pixels becomes 0..255, whatever is the brightest in this picture: 65,535 of 16 bits
    (the maximum that a PGM states), 4,095 of a 12-bit TIFF, 1.0 of floats, 2^31 - 1 or 2^32 - 1 of 32 bits with or
    without sign in a TIFF. Of colours of 16 bits the upper 8 are taken. Palettes are resolved, CMYK is converted, and
    transparency is laid over white unless `mode` keeps it.

    Args:
        image: opened or made by Pillow.
        mode: `L` grey, `RGB`, or `RGBA`.

    Raises:
        ValueError: grey of floats or of 32 bits lies outside its range.

    Shapes:
        uint8 `[channels, height, width]`.

    Example:
        >>> from PIL import Image
        >>> image_tensor(Image.new("I;16", (1, 1), 65535), mode="L").item()
        255
    """
    ops = need("PIL.ImageOps", "reading images")
    grey, transparent = _grey(image), _transparent(image)
    image.load()
    if image.getexif().get(_ORIENTATION, 1) != 1:
        image = ops.exif_transpose(image)
    width, height = image.size
    pixels = torch.empty(len(mode), height, width, dtype=torch.uint8)
    rows = max(1, _PIXELS_AT_ONCE // max(width, 1))
    for top in range(0, height if width else 0, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        if transparent is not None:
            strip.info["transparency"] = transparent
        strip = np.array(_converted(strip, mode, grey), dtype=np.uint8)
        pixels[:, top : top + rows] = torch.from_numpy(strip.reshape(*strip.shape[:2], -1)).permute(2, 0, 1)
    return pixels


def _converted(image: Any, mode: str, grey: Grey) -> Any:
    if image.mode in _DEEP:
        image = _shallow(image, grey)
    if mode != "RGBA" and image.has_transparency_data:
        image = image.convert("RGBA")
        white = need("PIL.Image", "reading images").new("RGBA", image.size, "white")
        white.alpha_composite(image)
        image = white
    return image if image.mode == mode else image.convert(mode)


def _grey(image: Any) -> Grey:
    """What the numbers of deep grey mean in this file; of a TIFF its tags tell."""
    tags = getattr(image, "tag_v2", None) or {}
    bits, kind = tags.get(_BITS, (16,))[0], tags.get(_SAMPLE_FORMAT, (1,))[0]
    white = 1.0 if image.mode == "F" else 2.0 ** (bits - (kind == 2)) - 1
    return Grey(white=white, inverted=tags.get(_PHOTOMETRIC) == 0, unsigned=bits == 32 and kind == 1)


def _transparent(image: Any) -> Any:
    """The transparent colour of an RGB picture of 16 bits, as Pillow reads its pixels: the upper 8; else None."""
    colour = image.info.get("transparency")
    tile = getattr(image, "tile", None)  # only of a file whose pixels are not decoded yet
    deep = bool(tile) and str(tile[0][3]).startswith("RGB;16")
    return tuple(part >> 8 for part in colour) if deep and isinstance(colour, tuple) else None


def _shallow(image: Any, grey: Grey) -> Any:
    """Deep grey as 8 bits, with an alpha channel where one of its numbers is transparent."""
    module = need("PIL.Image", "reading images")
    numbers = np.array(image)
    if grey.unsigned and numbers.dtype == np.int32:
        numbers = numbers.view(np.uint32)
    low, high = float(numbers.min()), float(numbers.max())
    if not (low >= 0 and high <= grey.white):
        raise ValueError(f"grey from {low:g} to {high:g}; expected 0 to {grey.white:g}, scale it first")
    shallow = np.rint(numbers * (255 / grey.white)).astype(np.uint8)
    result = module.fromarray(255 - shallow if grey.inverted else shallow)
    if (colour := image.info.get("transparency")) is not None:
        result.putalpha(module.fromarray(np.where(numbers == colour, 0, 255).astype(np.uint8)))
    return result
