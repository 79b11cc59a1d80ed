"""Convolutions over whole grids, such as pictures and spectrograms, of which each tile becomes one token."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from einops import rearrange
from omniformer_tokenizers import Packed
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.dropout import Dropout
from omniformer.core.init import linear_
from omniformer.core.ranges import BelowOne, Count, Natural
from omniformer.embedders.reads import Reads
from omniformer.embedders.standardized_conv import StandardizedConv2d
from omniformer.embedders.stem import VALID

_EPSILON = 1e-5
_MOST = 4  # convolutions: tiles of 16 x 16 are one number a channel then


class GridStem(nn.Module):
    """Convolutions of width 3 over each grid of numbers, whose tiles are laid side by side again: patches of a picture,
    or frames and bands of a spectrogram. Each is followed by a norm of the whole grid, the maxima of 2 x 2 numbers and
    a ReLU, until a tile is one number a channel or of an odd side; one linear map makes its token. A stem of
    convolutions ([Xiao et al. 2021](https://arxiv.org/abs/2106.14881)) makes few pictures enough
    ([Hassani et al. 2021](https://arxiv.org/abs/2104.05704), CCT), and few sounds, as it knows that what is near
    belongs together.

    The norm is a group norm of one group and the filters are standardized, in the place of norms of the batch, as in
    BiT ([Kolesnikov et al. 2020](https://arxiv.org/abs/1912.11370), 3.2). A norm of the channels of each pixel would
    make an empty sky as loud as what stands before it.

    Around each grid there are zeros at every convolution, so that no sample sees its neighbour in the batch.

    Args:
        d_model: width of the core.
        features: numbers in one tile, `channels * rows * columns`.
        channels: of a pixel, as the tokenizer says; a spectrogram has one.
        tile: rows and columns of a tile, as the tokenizer says; None where it is square.
        stride: rows and columns from one tile to the next, as the tokenizer says; tiles must not overlap.
        grid: rows and columns of tiles where all grids have as many, as the tokenizer says where it has an
            `image_size`; None finds them in each batch, and cannot be exported.
        width: channels of the first two convolutions, half of those of the others; 32 as in small networks.
        axes: coordinates of a token, for `position`.
        position: makes positions to add, called with `d_model` and `n_axes`; none by default.
        dropout: share of features set to zero in training.

    Raises:
        ValueError: `features` are no tile of `channels` with even sides, or tiles overlap; at use, positions are no
            rows and columns.

    Shapes:
        values `[tokens, features]`, positions `[tokens, 2]` (row, column) → `[tokens, d_model]`.

    Example:
        >>> from omniformer_tokenizers import PatchTokenizer, SpectrogramTokenizer, pack
        >>> tokenizer = PatchTokenizer(patch_size=8, channels=1)
        >>> GridStem(d_model=16, **tokenizer.facts)(pack([tokenizer(torch.zeros(1, 28, 28))])).shape
        torch.Size([16, 16])
        >>> tokenizer = SpectrogramTokenizer(n_mels=64, frames_per_token=8, bands_per_token=16)
        >>> GridStem(d_model=16, **tokenizer.facts)(pack([tokenizer(torch.zeros(16000))])).shape
        torch.Size([52, 16])
    """

    def __init__(
        self,
        *,
        d_model: Count,
        features: Count,
        channels: Count,
        tile: Sequence[Count] | None = None,
        stride: Count | None = None,
        grid: Sequence[Count] | None = None,
        width: Count = 32,
        axes: Natural = 2,
        position: Callable[..., nn.Module] | None = None,
        dropout: BelowOne = 0.0,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, features=features, channels=channels, width=width)
        checks.not_negative(axes=axes)
        checks.below_one(dropout=dropout)
        side = round((features / channels) ** 0.5)
        rows, columns = (side, side) if tile is None else tile
        even = rows % 2 == columns % 2 == 0
        if channels * rows * columns != features or not even or stride not in (None, rows) or axes != 2:
            raise ValueError(
                f"features={features} of channels={channels}, tile={tile}, stride={stride} on axes={axes} must be "
                "tiles of even sides on two axes that do not overlap; set tokenizer.patch_size=8 and "
                "tokenizer.stride=null (of sounds tokenizer.frames_per_token=8 and tokenizer.bands_per_token=8), or "
                "take embedder=vectors"
            )
        self.channels, self.rows, self.columns = channels, rows, columns
        self.grid = None if grid is None else (grid[0], grid[1])
        n = min(*((each & -each).bit_length() - 1 for each in (rows, columns)), _MOST)
        sizes = [channels, *[width] * min(n, 2), *[2 * width] * max(n - 2, 0)]
        self.convs = nn.ModuleList(StandardizedConv2d(*pair) for pair in pairwise(sizes))
        self.norms = nn.ModuleList(_GridNorm(size) for size in sizes[1:])
        self.map = nn.Linear(sizes[-1] * (rows >> n) * (columns >> n), d_model)
        self.position = None if position is None else position(d_model=d_model, n_axes=axes)
        self.dropout = Dropout(dropout)
        self.reset_parameters()

    def forward(self, packed: Packed) -> Tensor:
        """The vectors of all tiles."""
        places, shape = self._places(packed)
        values, valid = packed.values.to(self.map.weight.dtype), packed.facts.get(VALID)
        known = torch.ones_like(values[:, :1]) if valid is None else valid.flatten()[:, None].to(values.dtype)
        # Added up, not set: padding of zeros lies where the first patch does.
        x = values.new_zeros(*shape, values.shape[1]).index_put(places, values * known, accumulate=True)
        there = values.new_zeros(*shape, 1).index_put(places, known, accumulate=True).movedim(3, 1)
        x = rearrange(x, "n r q (c h w) -> n c (r h) (q w)", c=self.channels, h=self.rows)
        whole = not torch.compiler.is_compiling() and bool(there.all())  # a program must not depend on its example
        there = None if whole else F.interpolate(there, scale_factor=(self.rows, self.columns))
        # Channels last: CPUs take maxima and filter in two thirds of the time.
        x = x.contiguous(memory_format=torch.channels_last)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(conv(x), there)
            if there is not None:  # what is said of the zeros around a grid is none of its numbers
                x, there = x * there, there[..., ::2, ::2]
            x = F.relu(F.max_pool2d(x, 2))  # equal to maxima of a ReLU, of a quarter of the numbers
        x = self.map(rearrange(x, "n c (r h) (q w) -> n r q (c h w)", r=shape[1], q=shape[2])[places])
        if self.position is not None:
            x = x + self.position(packed.positions).to(x.dtype)
        return self.dropout(x)

    def _places(self, packed: Packed) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[int, int, int]]:
        """The sample, row and column of each token, and how many there are of each."""
        positions, valid = packed.positions, packed.facts.get(VALID)
        if valid is not None:
            n = valid.shape[0]  # no `len`, which a tracer takes for a constant
            picture = torch.arange(n, device=positions.device)[:, None].expand_as(valid).flatten()
        else:
            n = max(len(packed.lengths), 1)
            picture = torch.arange(len(packed.lengths)).repeat_interleave(packed.lengths).to(positions.device)
        if positions.is_cpu and not torch.compiler.is_compiling() and not positions.equal(positions.round()):
            raise ValueError("positions must be rows and columns of tiles; set tokenizer.coordinates=patches")
        rows, columns = positions.long().unbind(1)
        n_rows, n_columns = self.grid or ((positions.amax(0).long() + 1).tolist() if len(positions) else (1, 1))
        return (picture, rows, columns), (n, n_rows, n_columns)

    @property
    def reads(self) -> Reads | None:
        """Vectors, where the grid is known; None where it is not, for which there is no program."""
        if self.grid is None:
            return None
        numbers, most = self.channels * self.rows * self.columns, self.grid[0] * self.grid[1]
        return Reads(numbers=numbers, position=self.position, grid=self.grid, max_tokens=most)

    def reset_parameters(self) -> None:
        """Draws convolutions and map anew, so that features of unit variance stay near it."""
        for part in (*self.convs, *self.norms):
            part.reset_parameters()  # pyright: ignore[reportCallIssue]
        linear_(self.map, self.map.in_features**-0.5)


class _GridNorm(nn.Module):
    """A group norm of one group, of the numbers that are there."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(channels)), nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def forward(self, x: Tensor, there: Tensor | None) -> Tensor:
        """Grids `[n, channels, height, width]` of mean zero and one spread; `there` `[n, 1, height, width]` says which
        numbers are, None that all are.
        """
        if there is None:
            return F.group_norm(x, 1, self.weight, self.bias, _EPSILON)
        wide, of_picture = x.float(), (1, 2, 3)  # sums over pixels are more than half precision holds
        n = (there.float().sum(of_picture, keepdim=True) * x.shape[1]).clamp(min=1)
        centred = (wide - (wide * there).sum(of_picture, keepdim=True) / n) * there
        scaled = centred * (centred.square().sum(of_picture, keepdim=True) / n + _EPSILON).rsqrt()
        return (scaled * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    def reset_parameters(self) -> None:
        """No scale, no offset."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
