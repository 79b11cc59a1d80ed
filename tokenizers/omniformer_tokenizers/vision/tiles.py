"""Large images to tiles of one size, each of them cut into blocks of patches."""

import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor

from omniformer_tokenizers._checks import at_least
from omniformer_tokenizers.media import naming
from omniformer_tokenizers.ranges import Count
from omniformer_tokenizers.tokens import Tokens
from omniformer_tokenizers.vision.blocks import PatchBlockTokenizer
from omniformer_tokenizers.vision.pixels import read_pixels
from omniformer_tokenizers.vision.resampling import Resampling

_MOST = 4096  # pixels of a side, as the published processors have it


class TileTokenizer(PatchBlockTokenizer):
    """Cuts an image into square tiles, and behind them the whole image as one more, each of which a model of small
    pictures sees by itself, as Idefics3 and SmolVLM read them (Laurençon et al. 2024, 2.2).

    The longer side gets a length, then both sides that of whole tiles; an image that is one tile stays one. What stands
    in a text around tiles is the business of who reads them among words: see `interleaved`.

    Args:
        patch_size: as for `PatchBlockTokenizer`, like the next.
        block: rows and columns of patches in a token.
        tile: height and width of a tile, in pixels; what makes no whole block below and to the right is left out.
        longest_edge: length of the longer side before tiles are cut; None keeps the native size.
        split: whether there are tiles; else every image becomes one.
        filter: as for `Resampling`.
        channels: as for `PatchTokenizer`, like the next two.
        mean: subtracted from pixels scaled to 0..1.
        std: then divided by.

    Raises:
        ValueError: a size is not positive, `tile` holds no block, or mean and std do not fit `channels`.

    Shapes:
        values float32 `[tokens, block * block * channels * patch_size * patch_size]`; positions `[tokens, 3]`: tile,
        row and column of the block; the fact `tiles` int64 `[2]`: rows and columns of tiles, 0 where there is one.

    Example:
        >>> import torch
        >>> tokenizer = TileTokenizer(patch_size=4, block=2, tile=8, longest_edge=16)
        >>> tokens = tokenizer(torch.zeros(3, 5, 10, dtype=torch.uint8))
        >>> tokens.facts["tiles"].tolist(), tokens.positions[:, 0].tolist()
        ([1, 2], [0.0, 1.0, 2.0])
    """

    def __init__(
        self,
        *,
        patch_size: Count = 14,
        block: Count = 3,
        tile: Count = 378,
        longest_edge: Count | None = None,
        split: bool = True,
        filter: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "lanczos",
        channels: Literal[1, 3, 4] = 3,
        mean: tuple[float, ...] = (0.5,),
        std: tuple[float, ...] = (0.5,),
    ) -> None:
        at_least(1, tile=tile, longest_edge=longest_edge)
        super().__init__(
            patch_size=patch_size, block=block, frames=1, channels=channels, mean=mean, std=std, remainder="crop"
        )
        if tile < self.patch_size:
            raise ValueError(f"tile={tile} is smaller than a block of {block} x {block} patches of {patch_size} pixels")
        self.tile, self.longest_edge, self.split = tile, longest_edge, split
        self.filter: Literal["nearest", "bilinear", "bicubic", "lanczos"] = filter
        Resampling(filter=filter)  # refuses a filter that it does not know

    def decode(self, tokens: Tokens, *, dtype: torch.dtype = torch.uint8) -> Tensor:
        """The image back at the size of its tiles; see `PatchTokenizer.decode`."""
        rows, columns = tokens.facts["tiles"].tolist()
        number, facts = tokens.positions[:, 0].long(), {"size": tokens.facts["size"]}
        tiles = []
        for i in range(max(rows * columns, min(len(tokens), 1))):
            own = number == i
            part = Tokens(
                values=tokens.values[own], positions=tokens.positions[own], facts=facts, modality=tokens.modality
            )
            tiles.append(super().decode(part, dtype=dtype))
        if not rows * columns:
            return tiles[0] if tiles else torch.zeros(self.channels, 0, 0, dtype=dtype)
        return rearrange(torch.stack(tiles), "(rows columns) c h w -> c (rows h) (columns w)", rows=rows)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        known = super().config()
        own = {name: getattr(self, name) for name in ("tile", "longest_edge", "split", "filter")}
        return own | {name: known[name] for name in ("patch_size", "block", "channels", "mean", "std")}

    def _read(self, raw: Any) -> Tensor:
        """An image of whole tiles."""
        with naming(raw):
            image = read_pixels(raw, self.channels)
            if not image.numel():
                return image
            if self.longest_edge is not None:
                image = self._resized(image, _longest(*image.shape[1:], self.longest_edge))
            height, width = image.shape[1:]
            sides = _whole(height, width, self.tile) if self.split else (self.tile, self.tile)
            return self._resized(image, sides)

    def _tokens(self, images: Tensor) -> Iterator[Tokens]:
        rows, columns = (side // self.tile for side in images.shape[2:])
        if not images.numel():
            yield from (self._joined([each], (0, 0)) for each in super()._tokens(images))
            return
        for image in images:
            tiles = rearrange(image, "c (rows h) (columns w) -> (rows columns) c h w", rows=rows, columns=columns)
            if len(tiles) > 1:
                tiles = torch.cat([tiles, self._resized(image, (self.tile, self.tile))[None]])
            grid = (rows, columns) if len(tiles) > 1 else (0, 0)
            yield self._joined(list(super()._tokens(tiles)), grid)

    def _joined(self, tiles: list[Tokens], grid: tuple[int, int]) -> Tokens:
        """The tokens of all tiles of an image, under their numbers."""
        positions = torch.cat([each.positions for each in tiles])
        positions[:, 0] = torch.arange(len(tiles)).repeat_interleave(torch.tensor([len(each) for each in tiles]))
        return Tokens(
            values=torch.cat([each.values for each in tiles]),
            positions=positions,
            facts={**tiles[0].facts, "tiles": torch.tensor(grid)},
            modality=self.modality,
        )

    def _resized(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        return Resampling(filter=self.filter, size=size)(image)


def _longest(height: int, width: int, length: int) -> tuple[int, int]:
    """A size whose longer side has a length, in the order of rounding of the published models."""
    ratio = width / height
    if width >= height:
        sides = [int(length / ratio), length]
        sides[0] += sides[0] % 2
    else:
        sides = [length, int(length * ratio)]
        sides[1] += sides[1] % 2
    height, width = (max(side, 1) for side in sides)
    ratio = width / height
    if width >= height and width > _MOST:
        height, width = int(_MOST / ratio), _MOST
    elif height > width and height > _MOST:
        height, width = _MOST, int(_MOST * ratio)
    return max(height, 1), max(width, 1)


def _whole(height: int, width: int, tile: int) -> tuple[int, int]:
    """The size of whole tiles, in the order of rounding of the published models."""
    ratio = width / height
    if width >= height:
        width = math.ceil(width / tile) * tile
        return math.ceil(int(width / ratio) / tile) * tile, width
    height = math.ceil(height / tile) * tile
    return height, math.ceil(int(height * ratio) / tile) * tile
