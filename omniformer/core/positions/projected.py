"""Encodings of coordinates that a learned linear map brings to the width of the tokens."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.init import linear_
from omniformer.core.positions.base import Position
from omniformer.core.positions.sinusoidal import Sinusoidal
from omniformer.core.ranges import Count, Natural, NotNegative


class Fourier(Position):
    """Sines and cosines of random projections of the coordinates, mapped to the width
    ([Tancik et al. 2020](https://arxiv.org/abs/2006.10739)).

    Args:
        d_model: width of the vectors.
        n_axes: number of coordinates of a token.
        n_frequencies: random projections.
        scale: deviation of the frequencies, in turns for one unit of position. Large values tell near tokens apart,
            small ones make near tokens alike; it should be about one over the distance that matters.

    Example:
        >>> Fourier(d_model=8, n_axes=2)(torch.rand(5, 2)).shape
        torch.Size([5, 8])
    """

    def __init__(
        self, *, d_model: Count, n_axes: Natural = 1, n_frequencies: int = 64, scale: NotNegative = 1.0
    ) -> None:
        super().__init__(d_model=d_model, n_axes=n_axes)
        # Drawn once and saved with the weights, which would mean nothing without them.
        checks.counts(n_frequencies=n_frequencies)
        checks.positive(scale=scale)
        self.register_buffer("frequency", torch.randn(n_axes, n_frequencies) * scale)
        self.frequency: Tensor
        self.map = nn.Linear(2 * n_frequencies, d_model)
        self.reset_parameters()

    def encode(self, positions: Tensor) -> Tensor:
        angles = 2 * math.pi * positions.float() @ self.frequency.float()
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1)
        return self.map(waves.to(self.map.weight.dtype))

    def reset_parameters(self) -> None:
        """Draws the map, so that the vectors' features have variance one; the frequencies stay."""
        linear_(self.map, (self.map.in_features / 2) ** -0.5)


class Projected(Position):
    """A learned linear map of another encoding.

    Concatenating an encoding p to features f before an embedder's linear map is the same thing: `W [f; p]` is
    `W_f f + W_p p`. So this is how positions are concatenated.

    Args:
        d_model: width of the vectors.
        n_axes: number of coordinates of a token.
        encoding: makes the encoding, called with `d_model=d_encoding` and `n_axes`.
        d_encoding: width of the encoding.

    Example:
        >>> Projected(d_model=8, n_axes=2, encoding=Fourier)(torch.rand(5, 2)).shape
        torch.Size([5, 8])
    """

    def __init__(
        self,
        *,
        d_model: Count,
        n_axes: Natural = 1,
        encoding: Callable[..., nn.Module] = Sinusoidal,
        d_encoding: int = 64,
    ) -> None:
        super().__init__(d_model=d_model, n_axes=n_axes)
        checks.counts(d_encoding=d_encoding)
        self.encoding = encoding(d_model=d_encoding, n_axes=n_axes)
        self.map = nn.Linear(d_encoding, d_model, bias=False)
        self.reset_parameters()

    def encode(self, positions: Tensor) -> Tensor:
        return self.map(self.encoding(positions).to(self.map.weight.dtype))

    def reset_parameters(self) -> None:
        """Draws the map, so that it keeps the variance of the encoding."""
        linear_(self.map, self.map.in_features**-0.5)
