"""Images to patches at any resolution and aspect ratio, and back without loss."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from omniformer_tokenizers._checks import at_least, one_of, sides
from omniformer_tokenizers.media import naming
from omniformer_tokenizers.ranges import Count
from omniformer_tokenizers.tokenizer import Tokenizer
from omniformer_tokenizers.tokens import Tokens
from omniformer_tokenizers.vision.pixels import (
    alike,
    check_area,
    check_colours,
    interpolated,
    read_pixels,
    resized,
    unit_range,
)
from omniformer_tokenizers.vision.resampling import Resampling


class PatchTokenizer(Tokenizer):
    """Cuts an image into square patches, one token each (ViT, Dosovitskiy et al. 2021), at its native resolution.

    Images of different sizes need no common size: they are packed, not padded (NaViT, Dehghani et al. 2023).

    Args:
        patch_size: height and width of a patch, in pixels.
        stride: pixels from one patch to the next; `patch_size` when left out. Smaller overlaps patches.
        channels: 1 grey, 3 colour, 4 colour with transparency. Files and Pillow images are converted to it.
        mean: subtracted from pixels scaled to 0..1, one number for all channels or one for each.
        std: then divided by. The defaults map pixels to -1..1.
        remainder: what happens where patches do not fit the image: `pad` adds pixels of the mean colour below and to
            the right (undone by `decode`), `crop` leaves the last rows and columns out, `error` refuses.
        image_size: height and width to which every image is resized first, one number for a square; None keeps the
            native size.
        resize: how: `stretch` ignores the aspect ratio, `contain` keeps it and stays within `image_size`, `cover`
            keeps it, fills `image_size` and cuts the middle out. A `Resampling`, or its arguments as a mapping, resizes
            as a published model's own processor does, to sizes of its own.
        max_tokens: larger images are scaled down, keeping their aspect ratio, until they give no more tokens.
        coordinates: unit of the positions: `patches` counts rows and columns of patches, `unit` maps patch centres to
            0..1 of the longer side, so that scale does not matter.

    Raises:
        ValueError: a size is not positive, `stride` exceeds `patch_size`, mean and std do not fit `channels`, or a
            `Resampling` comes with an `image_size` beside its own.

    Example:
        >>> import torch
        >>> tokens = PatchTokenizer(patch_size=4)(torch.zeros(3, 8, 12, dtype=torch.uint8))
        >>> tokens.values.shape, tokens.positions[-1].tolist()
        (torch.Size([6, 48]), [1.0, 2.0])
    """

    modality = "vision"

    def __init__(
        self,
        *,
        patch_size: Count = 16,
        stride: Count | None = None,
        channels: Literal[1, 3, 4] = 3,
        mean: tuple[float, ...] = (0.5,),
        std: tuple[float, ...] = (0.5,),
        remainder: Literal["pad", "crop", "error"] = "pad",
        image_size: Count | tuple[Count, Count] | None = None,
        resize: Literal["stretch", "contain", "cover"] | Resampling | Mapping[str, Any] = "cover",
        max_tokens: Count | None = None,
        coordinates: Literal["patches", "unit"] = "patches",
    ) -> None:
        at_least(1, patch_size=patch_size, stride=stride, max_tokens=max_tokens)
        one_of(("pad", "crop", "error"), remainder=remainder)
        if isinstance(resize, str):
            one_of(("stretch", "contain", "cover"), resize=resize)
        elif image_size is not None:
            raise ValueError(f"image_size={image_size} and a Resampling, which has its own size; leave one out")
        one_of(("patches", "unit"), coordinates=coordinates)
        check_colours(channels, mean, std)
        if stride is not None and stride > patch_size:
            raise ValueError(f"stride={stride} exceeds patch_size={patch_size}: pixels between patches would be lost")
        self.patch_size = patch_size
        self.stride = stride
        self.channels = channels
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.remainder = remainder
        self.image_size = None if image_size is None else sides(image_size, "image_size")
        self.resize: Literal["stretch", "contain", "cover"] | Resampling = (
            resize if isinstance(resize, str) else Resampling.of(resize)
        )
        self.max_tokens = max_tokens
        self.coordinates = coordinates

    @property
    def facts(self) -> Mapping[str, Any]:
        """`features`: pixels of a patch, all `channels`; its `stride`; the number of position `axes`: row and column;
        and the rows and columns of the `grid`, where `image_size` says them.
        """
        facts = {"features": self.channels * self.patch_size**2, "channels": self.channels, "axes": 2}
        facts["stride"] = self.stride or self.patch_size
        fixed = self.image_size is not None and self.resize in ("stretch", "cover") and self.max_tokens is None
        return {**facts, "grid": [self._grid(side) for side in self.image_size or ()]} if fixed else facts

    def __call__(self, raw: Any) -> Tokens:
        """The patches of an image: a tensor, a Pillow image, a path, or the bytes of a file.

        Raises:
            TypeError: not one of these.
            ValueError: a tensor of another shape or dtype, or patches that do not fit with `remainder="error"`.
            MediaError: a file that cannot be decoded.

        Shapes:
            raw uint8 0..255 or float 0..1 `[channels, height, width]`; grey also `[height, width]`. Values float32
            `[tokens, channels * patch_size * patch_size]`, positions `[tokens, 2]` (row, column), and the fact `size`
            int64 `[2]`, height and width in pixels.
        """
        return self.encode_batch([raw])[0]

    @property
    def stack_shape(self) -> tuple[int | None, ...] | None:
        """Channels, height and width to which every picture is brought; None where they depend on the picture."""
        fixed = self.image_size if self.resize in ("stretch", "cover") else getattr(self.resize, "output", None)
        return None if fixed is None or self.max_tokens is not None else (self.channels, *fixed)

    def stackable(self, raw: Any) -> Tensor:
        """An image, resized as it is before it is cut."""
        return self._in_range(self._read(raw))

    def of_stack(self, raws: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The patches of images of one size, uint8 0..255 or float 0..1 `[samples, channels, height, width]`."""
        values, positions = self._patches(raws)
        return values, positions.expand(values.shape[0], -1, -1), {}

    def encode_batch(self, raws: Iterable[Any]) -> list[Tokens]:
        """The patches of many images, those of equal size and type cut together."""
        images = [self._read(raw) for raw in raws]
        made: dict[int, Tokens] = {}
        for places in alike(images):
            stack = self._in_range(torch.stack([images[i] for i in places]))
            made |= zip(places, self._tokens(stack), strict=True)
        return [made[place] for place in range(len(images))]

    def _read(self, raw: Any) -> Tensor:
        """An image of the size that is cut."""
        with naming(raw):
            image = read_pixels(raw, self.channels)
            if isinstance(self.resize, Resampling):
                image = self.resize(image)
            # Bytes of the right size stay bytes: `_in_range` makes numbers of many at once.
            as_it_is = image.dtype == torch.uint8 and self.max_tokens is None and self.image_size == image.shape[1:]
            if not as_it_is and (self.image_size is not None or self.max_tokens is not None):
                image = self._sized(unit_range(image))
            check_area(image, *self._target(*image.shape[1:]))
        return image

    def _in_range(self, pixels: Tensor) -> Tensor:
        """Pixels of one type, whether they had to be brought to `image_size` or not."""
        return pixels if self.image_size is None else unit_range(pixels)

    def _tokens(self, images: Tensor) -> Iterator[Tokens]:
        """The tokens of each of some images `[images, channels, height, width]`."""
        values, positions = self._patches(images)
        size = torch.tensor(images.shape[2:])
        for each in values:
            yield Tokens(values=each, positions=positions, facts={"size": size}, modality=self.modality)

    def _patches(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The patches of each of some images, and where they lie in all of them."""
        height, width = images.shape[2:]
        target = self._target(height, width)
        # Padding is of the mean colour, which is zero once pixels are normalised.
        images = self._normalized(images[..., : target[0], : target[1]])
        below, right = target[0] - images.shape[2], target[1] - images.shape[3]
        values, rows, columns = self._cut(functional.pad(images, (0, right, 0, below)) if below or right else images)
        return values, self._positions(rows, columns, longer_side=max(height, width))

    def decode(self, tokens: Tokens, *, dtype: torch.dtype = torch.uint8) -> Tensor:
        """The image back: exact for 8-bit pixels, to rounding (1e-6) for floats; resizing and cropping stay.

        Overlapping patches are averaged; patches that were dropped show the mean colour.

        Args:
            tokens: what the tokenizer made, or a model's version of it.
            dtype: uint8 for pixels 0..255, or a float type for 0..1.

        Shapes:
            `[channels, height, width]`.
        """
        height, width = tokens.facts["size"].tolist()
        rows, columns = self._grid(height), self._grid(width)
        step, p = self.stride or self.patch_size, self.patch_size
        if self.coordinates == "unit":
            corner = tokens.positions * max(height, width) - p / 2
        else:
            corner = tokens.positions * step
        corner = corner.round().long()
        canvas = torch.zeros(self.channels, (rows - 1) * step + p, (columns - 1) * step + p)
        count = torch.zeros(canvas.shape[1:])
        patches = rearrange(tokens.values.float(), "tokens (c h w) -> tokens c h w", c=self.channels, h=p)
        for patch, (row, column) in zip(patches, corner.tolist(), strict=True):
            canvas[:, row : row + p, column : column + p] += patch
            count[row : row + p, column : column + p] += 1
        image = (canvas / count.clamp(min=1))[:, :height, :width] * self._column(self.std) + self._column(self.mean)
        if dtype == torch.uint8:
            return (image * 255).round().clamp(0, 255).to(torch.uint8)
        return image.to(dtype)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("patch_size", "stride", "channels", "remainder", "max_tokens", "coordinates")
        lists = {name: getattr(self, name) for name in ("mean", "std", "image_size")}
        resize = self.resize.config() if isinstance(self.resize, Resampling) else self.resize
        plain = {name: getattr(self, name) for name in names} | {"resize": resize}
        return plain | {k: v and list(v) for k, v in lists.items()}

    def _sized(self, image: Tensor) -> Tensor:
        height, width = image.shape[1:]
        if self.image_size is not None and height and width:
            assert isinstance(self.resize, str)
            image = resized(image, self.image_size, self.resize)
            height, width = image.shape[1:]
        while self.max_tokens is not None and (tokens := self._grid(height) * self._grid(width)) > self.max_tokens:
            scale = min((self.max_tokens / tokens) ** 0.5, 0.99)
            height, width = max(1, int(height * scale)), max(1, int(width * scale))
            if height * width == 1:
                break
        return interpolated(image, height, width) if (height, width) != tuple(image.shape[1:]) else image

    def _grid(self, size: int) -> int:
        """How many patches lie along `size` pixels."""
        step = self.stride or self.patch_size
        if self.remainder == "crop":
            return max(0, (size - self.patch_size) // step + 1)
        return 0 if size == 0 else max(0, -(-(size - self.patch_size) // step)) + 1

    def _target(self, height: int, width: int) -> tuple[int, int]:
        """The size that whole patches cover; nothing where not one fits or the image is empty."""
        step, p = self.stride or self.patch_size, self.patch_size
        rows, columns = self._grid(height), self._grid(width)
        if not rows * columns:
            return 0, 0
        target = ((rows - 1) * step + p, (columns - 1) * step + p)
        if self.remainder == "error" and target != (height, width):
            raise ValueError(
                f"patch_size={p} (stride {step}) does not fit height={height}, width={width}; resize the image or set "
                "remainder='pad'"
            )
        return target

    def _cut(self, images: Tensor) -> tuple[Tensor, int, int]:
        """The patches of images that fit the grid, with the numbers of rows and columns."""
        p, step = self.patch_size, self.stride or self.patch_size
        if not images.numel():
            return images.new_zeros(len(images), 0, self.channels * p * p), 0, 0
        windows = images.unfold(2, p, step).unfold(3, p, step)
        values = rearrange(windows, "images c rows columns h w -> images (rows columns) (c h w)")
        return values.contiguous(), windows.shape[2], windows.shape[3]

    def _normalized(self, pixels: Tensor) -> Tensor:
        """Images as float32, less the mean and by the deviation."""
        top = 255.0 if pixels.dtype == torch.uint8 else 1.0
        if len(self.mean) == len(self.std) == 1:
            return (pixels - self.mean[0] * top).div_(self.std[0] * top)
        return (pixels - self._column(self.mean) * top).div_(self._column(self.std) * top)

    def _positions(self, rows: int, columns: int, *, longer_side: int) -> Tensor:
        cells = _cells(rows, columns).clone()
        if self.coordinates == "patches":
            return cells
        return (cells * (self.stride or self.patch_size) + self.patch_size / 2) / max(longer_side, 1)

    def _column(self, numbers: Sequence[float]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.float32)[:, None, None]


@lru_cache(maxsize=256)
def _cells(rows: int, columns: int) -> Tensor:
    """Row and column of each cell of a grid."""
    return torch.cartesian_prod(torch.arange(float(rows)), torch.arange(float(columns))).reshape(-1, 2)
