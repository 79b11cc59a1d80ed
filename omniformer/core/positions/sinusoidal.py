"""Sines and cosines of coordinates, by turns along the features."""

import torch
from einops import einsum, rearrange
from torch import Tensor
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.frequencies import Frequencies
from omniformer.core.positions.base import Position
from omniformer.core.ranges import Count, Natural, Positive


class Sinusoidal(Position):
    """Sines and cosines of geometrically spaced wavelengths ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762),
    3.5): `PE(pos, 2i) = sin(pos / base^(2i / d))` and `PE(pos, 2i + 1) = cos(...)`.

    With several axes each has its own share of the features, one beside the other; features left over stay zero.

    Args:
        d_model: width of the vectors.
        n_axes: number of coordinates of a token.
        base: the longest wavelength is about `2 pi base` positions; 10,000 as in the paper.

    Raises:
        ValueError: `d_model` has fewer than two features for each axis.

    Example:
        >>> Sinusoidal(d_model=4)(torch.zeros(1, 1)).tolist()
        [[0.0, 1.0, 0.0, 1.0]]
    """

    def __init__(self, *, d_model: Count, n_axes: Natural = 1, base: Positive = 10_000.0) -> None:
        super().__init__(d_model=d_model, n_axes=n_axes)
        self.frequency = _frequencies(d_model // n_axes, base, d_model, n_axes)

    def encode(self, positions: Tensor) -> Tensor:
        """Each axis in its own features."""
        waves = rearrange(_waves(positions, self.frequency()), "tokens axes features -> tokens (axes features)")
        return F.pad(waves, (0, self.d_model - waves.shape[-1]))


class SinusoidalSum(Position):
    """Sinusoidal positions of every axis over the full width, summed.

    Axis a counts in steps of its own, `1 / (a + 1)` of a position, so that (1, 2) and (2, 1) differ.

    Args:
        d_model: width of the vectors.
        n_axes: number of coordinates of a token.
        base: the longest wavelength is about `2 pi base` positions; 10,000 as in the paper.

    Raises:
        ValueError: `d_model` is below 2.

    Example:
        >>> SinusoidalSum(d_model=4, n_axes=2)(torch.zeros(1, 2)).tolist()
        [[0.0, 2.0, 0.0, 2.0]]
    """

    def __init__(self, *, d_model: Count, n_axes: Natural = 1, base: Positive = 10_000.0) -> None:
        super().__init__(d_model=d_model, n_axes=n_axes)
        self.frequency = _frequencies(d_model, base, d_model, 1)

    def encode(self, positions: Tensor) -> Tensor:
        steps = torch.arange(1, self.n_axes + 1, device=positions.device)
        waves = _waves(positions / steps, self.frequency()).sum(1)
        return F.pad(waves, (0, self.d_model - waves.shape[-1]))


def _frequencies(width: int, base: float, d_model: int, n_axes: int) -> Frequencies:
    """Angles that one position turns, by feature pair."""
    checks.positive(base=base)
    n = width // 2
    if n < 1:
        raise ValueError(f"d_model={d_model} must have at least two features for each of n_axes={n_axes}")
    return Frequencies(base ** -(torch.arange(n, dtype=torch.float64) / n))


def _waves(positions: Tensor, frequency: Tensor) -> Tensor:
    """Sine and cosine by turns.

    Shapes:
        positions `[tokens, axes]`, frequency `[n]` → `[tokens, axes, 2 n]`.
    """
    angles = einsum(positions.float(), frequency.float(), "tokens axes, n -> tokens axes n")
    return rearrange(torch.stack([angles.sin(), angles.cos()], dim=-1), "tokens axes n wave -> tokens axes (n wave)")
