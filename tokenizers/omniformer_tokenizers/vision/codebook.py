"""Images as sequences of ids: palette colours found by k-means, or the pixels themselves."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from annotated_types import Ge
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from omniformer_tokenizers._checks import at_least, sides
from omniformer_tokenizers._clustering import k_means, nearest
from omniformer_tokenizers.ranges import Count
from omniformer_tokenizers.tokenizer import Tokenizer
from omniformer_tokenizers.tokens import Tokens
from omniformer_tokenizers.vision.pixels import read_pixels, resized, unit_range

CODEBOOK_FILE = "codebook.safetensors"


class ColourTokenizer(Tokenizer):
    """One id for each pixel: the nearest of `n_colours` colours (Image GPT, Chen et al. 2020), row by row.

    The colours are fitted to training images by k-means, deterministically. `decode` paints the ids in these colours.

    Args:
        n_colours: size of the palette, and so of the vocabulary.
        channels: 1 grey or 3 colour.
        image_size: height and width to which images are resized first, one number for a square; None keeps their size.
        iterations: rounds of k-means; the default is past visible change.
        max_pixels: pixels used for fitting, spread evenly over all images.

    Raises:
        ValueError: a number is not positive.

    Example:
        >>> import torch
        >>> image = torch.tensor([[[0, 255], [255, 0]]], dtype=torch.uint8)
        >>> tokenizer = ColourTokenizer(n_colours=2, channels=1).fit([image])
        >>> tokenizer(image).values.tolist(), torch.equal(tokenizer.decode(tokenizer(image)), image)
        ([0, 1, 1, 0], True)
    """

    modality = "pixels"

    def __init__(
        self,
        *,
        n_colours: Count = 512,
        channels: Literal[1, 3] = 3,
        image_size: Count | tuple[Count, Count] | None = None,
        iterations: int = 20,
        max_pixels: int = 200_000,
    ) -> None:
        at_least(1, n_colours=n_colours, channels=channels, iterations=iterations, max_pixels=max_pixels)
        self.n_colours = n_colours
        self.channels: Literal[1, 3] = channels
        self.image_size = None if image_size is None else sides(image_size, "image_size")
        self.iterations = iterations
        self.max_pixels = max_pixels
        self._colours: Tensor | None = None

    @property
    def fitted(self) -> bool:
        """Whether the colours are known."""
        return self._colours is not None

    @property
    def facts(self) -> Mapping[str, Any]:
        """`vocab_size`, the colours and `start`, and the number of position `axes`: row and column."""
        return {"vocab_size": self.n_colours + 1, "axes": 2}

    @property
    def start(self) -> int:
        """The id from which a model begins to write, the one behind the colours."""
        return self.n_colours

    @property
    def colours(self) -> Tensor:
        """The palette, dark to bright; float32 `[n_colours, channels]`, 0..1."""
        if self._colours is None:
            raise ValueError("ColourTokenizer has no colours yet; call fit(images) or load one")
        return self._colours

    def fit(self, raws: Iterable[Any]) -> Self:
        """Finds the colours; keeps at most `max_pixels` pixels of the images in memory, plus one image.

        Raises:
            ValueError: there is not a single pixel.
        """
        kept = torch.zeros(0, self.channels)
        step = 1
        for raw in raws:
            kept = torch.cat([kept, self._pixels(raw).flatten(1).T[::step]])
            # Every second pixel goes when there are too many, and of the images to come as well.
            while len(kept) > self.max_pixels:
                kept, step = kept[::2], step * 2
        if not len(kept):
            raise ValueError("fit() received no pixels; pass at least one image")
        self._colours = k_means(kept, self.n_colours, self.iterations)
        return self

    def __call__(self, raw: Any) -> Tokens:
        """The palette ids of an image: a tensor, a Pillow image, a path, or the bytes of a file.

        Shapes:
            values int64 `[height * width]`, positions `[height * width, 2]` (row, column), fact `size` int64 `[2]`.
        """
        image = self._pixels(raw)
        return _grid(nearest(image.flatten(1).T, self.colours), image.shape[1:], self.modality)

    def decode(self, tokens: Tokens) -> Tensor:
        """The image painted in the palette's colours; uint8 `[channels, height, width]`."""
        height, width = tokens.facts["size"].tolist()
        picture = self.colours[tokens.values].T.reshape(self.channels, height, width)
        return (picture * 255).round().to(torch.uint8)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("n_colours", "channels", "iterations", "max_pixels")
        return {n: getattr(self, n) for n in names} | {"image_size": self.image_size and list(self.image_size)}

    def _pixels(self, raw: Any) -> Tensor:
        return _sized(raw, self.channels, self.image_size)

    def _save_files(self, folder: Path) -> None:
        save_file({"colours": self.colours}, folder / CODEBOOK_FILE)

    def _load_files(self, folder: Path) -> None:
        path = folder / CODEBOOK_FILE
        try:
            colours = load_file(path)["colours"]
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"{path} does not hold colours: {error}") from error
        if colours.shape != (self.n_colours, self.channels) or colours.dtype != torch.float32:
            raise ValueError(
                f"{path} holds {colours.dtype} {list(colours.shape)}; expected the {self.n_colours} colours"
            )
        self._colours = colours


class PixelTokenizer(Tokenizer):
    """One id for each channel of each pixel, its 8-bit value, row by row (PixelCNN's order); exact.

    Args:
        channels: 1 grey or 3 colour: red, green, blue of a pixel follow each other.
        levels: distinct values; fewer than 256 makes a smaller vocabulary and a coarser picture.
        image_size: height and width to which images are resized first, one number for a square; None keeps their size.

    Raises:
        ValueError: `levels` is outside 2..256.

    Example:
        >>> import torch
        >>> PixelTokenizer(channels=1)(torch.tensor([[[7, 9]]], dtype=torch.uint8)).values
        tensor([7, 9])
    """

    modality = "pixels"

    def __init__(
        self,
        *,
        channels: Literal[1, 3] = 3,
        levels: Annotated[int, Ge(2)] = 256,
        image_size: Count | tuple[Count, Count] | None = None,
    ) -> None:
        if not 2 <= levels <= 256:
            raise ValueError(f"levels={levels} is outside 2..256")
        self.channels: Literal[1, 3] = channels
        self.levels = levels
        self.image_size = None if image_size is None else sides(image_size, "image_size")

    @property
    def facts(self) -> Mapping[str, Any]:
        """`vocab_size`, the levels and `start`, and the number of position `axes`: row, column and channel."""
        return {"vocab_size": self.levels + 1, "axes": 3}

    @property
    def start(self) -> int:
        """The id from which a model begins to write, the one behind the levels."""
        return self.levels

    def __call__(self, raw: Any) -> Tokens:
        """The values of an image: a tensor, a Pillow image, a path, or the bytes of a file.

        Shapes:
            values int64 `[height * width * channels]`, positions `[.., 3]` (row, column, channel), fact `size` int64
            `[2]`.
        """
        image = _sized(raw, self.channels, self.image_size)
        ids = (image.permute(1, 2, 0).flatten() * (self.levels - 1)).round().long()
        return _grid(ids, (*image.shape[1:], self.channels), self.modality)

    def decode(self, tokens: Tokens) -> Tensor:
        """The image: exact for 8-bit pixels and 256 levels; uint8 `[channels, height, width]`."""
        height, width = tokens.facts["size"].tolist()
        picture = tokens.values.reshape(height, width, self.channels).permute(2, 0, 1)
        return (picture * 255 / (self.levels - 1)).round().to(torch.uint8)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        size = self.image_size and list(self.image_size)
        return {"channels": self.channels, "levels": self.levels, "image_size": size}


def _sized(raw: Any, channels: int, size: tuple[int, ...] | None) -> Tensor:
    """Any accepted raw image as float 0..1, at the size asked for."""
    image = unit_range(read_pixels(raw, channels))
    return image if size is None or tuple(image.shape[1:]) == size else resized(image, size)


def _grid(ids: Tensor, shape: Iterable[int], modality: str) -> Tokens:
    sizes = tuple(shape)
    cells = torch.cartesian_prod(*[torch.arange(float(n)) for n in sizes]).reshape(-1, len(sizes))
    return Tokens(values=ids, positions=cells, facts={"size": torch.tensor(sizes[:2])}, modality=modality)
