"""Sines in one half of the features and cosines in the other, computed or read from a published table."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.positions.base import Position
from omniformer.core.ranges import Count, Natural, Positive


class SinusoidalHalves(Position):
    """Sines in the first half of the features, cosines in the second: how
    [Marian](https://arxiv.org/abs/1804.00344) and [Whisper](https://arxiv.org/abs/2212.04356) lay out the waves of
    [Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), 3.5.

    Angles are computed in double precision, so that they are right far from the origin too. With several axes each has
    its own share of the features, one beside the other; features left over stay zero.

    Args:
        d_model: width of the vectors; where it is odd there is one sine more.
        n_axes: number of coordinates of a token.
        base: the longest wavelength is about `2 pi base` positions; 10,000 as in the paper.
        to_base: whether the slowest wave has exactly that length, `base^(-i / (n - 1))` for wave i of n, as in Whisper
            and tensor2tensor. Else it stops one step short of it, `base^(-i / n)`, as in the paper and in Marian.
        first: the place of coordinate 0; 2 in M2M100, whose first places belong to padding.

    Raises:
        ValueError: `d_model` has fewer than two features for each axis; four where the slowest wave is fixed.

    Example:
        >>> SinusoidalHalves(d_model=4)(torch.zeros(1, 1)).tolist()
        [[0.0, 0.0, 1.0, 1.0]]
    """

    def __init__(
        self,
        *,
        d_model: Count,
        n_axes: Natural = 1,
        base: Positive = 10_000.0,
        to_base: bool = False,
        first: Natural = 0,
    ) -> None:
        super().__init__(d_model=d_model, n_axes=n_axes)
        checks.positive(base=base)
        checks.not_negative(first=first)
        least = 4 if to_base else 2
        if d_model // n_axes < least:
            raise ValueError(f"d_model={d_model} must have at least {least} features for each of n_axes={n_axes}")
        self.base, self.to_base, self.first = base, to_base, first

    def encode(self, positions: Tensor) -> Tensor:
        """Each axis in its own features."""
        width = self.d_model // self.n_axes
        wave = torch.arange((width + 1) // 2, dtype=torch.float64, device=positions.device)
        frequency = self.base ** -(wave / (width // 2 - 1) if self.to_base else 2 * wave / width)
        angles = (positions.double() + self.first)[..., None] * frequency
        waves = torch.cat([angles.sin(), angles.cos()[..., : width // 2]], dim=-1).float()
        waves = rearrange(waves, "tokens axes features -> tokens (axes features)")
        return F.pad(waves, (0, self.d_model - waves.shape[-1]))


class StoredSinusoidal(SinusoidalHalves):
    """Sines and cosines that a published file holds as a table: counted and saved like weights, but never trained.

    Whole coordinates below `size` read the table; all others, and those between two places, follow the formula, so that
    a sequence may be of any length.

    Args:
        d_model: width of the vectors.
        size: places of the table; 1,500 in Whisper, which are 30 seconds.
        n_axes: number of coordinates of a token, which must be 1.
        base: the longest wavelength is about `2 pi base` positions.
        to_base: whether the slowest wave has exactly that length, as in Whisper.

    Raises:
        ValueError: `size` is below 1, or there are several axes.

    Example:
        >>> position = StoredSinusoidal(d_model=4, size=3)
        >>> places = torch.tensor([[2.0], [5.0]])
        >>> bool((position(places) == SinusoidalHalves(d_model=4)(places)).all()), position.table.requires_grad
        (True, False)
    """

    no_weight_decay = ("table",)

    def __init__(
        self, *, d_model: Count, size: Count, n_axes: Natural = 1, base: Positive = 10_000.0, to_base: bool = False
    ) -> None:
        super().__init__(d_model=d_model, n_axes=n_axes, base=base, to_base=to_base)
        if size < 1 or n_axes != 1:
            raise ValueError(f"size={size} and n_axes={n_axes}: a table has one axis and at least one place")
        self.size = size
        self.table = nn.Parameter(torch.empty(size, d_model), requires_grad=False)
        self.reset_parameters()

    def encode(self, positions: Tensor) -> Tensor:
        """The table's vectors, and those of the formula where it has none."""
        place = positions[:, 0]
        stored = (place >= 0) & (place < self.size) & (place == place.floor())
        read = self.table[torch.where(stored, place, 0).long()]
        if not torch.compiler.is_compiling() and place.device.type == "cpu" and bool(stored.all()):
            return read
        return torch.where(stored[:, None], read, super().encode(positions).to(read.dtype))

    def reset_parameters(self) -> None:
        """Writes the table anew, by the formula."""
        place = torch.arange(self.size, dtype=torch.float32, device=self.table.device)[:, None]
        with torch.no_grad():
            self.table.copy_(SinusoidalHalves.encode(self, place))
