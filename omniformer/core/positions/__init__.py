"""Coordinates of tokens as vectors to add to the tokens."""

from omniformer.core.positions.base import NoPositions, Position
from omniformer.core.positions.halves import SinusoidalHalves, StoredSinusoidal
from omniformer.core.positions.learned import Learned
from omniformer.core.positions.projected import Fourier, Projected
from omniformer.core.positions.sinusoidal import Sinusoidal, SinusoidalSum
from omniformer.core.positions.stretched import Stretched

__all__ = [
    "Fourier",
    "Learned",
    "NoPositions",
    "Position",
    "Projected",
    "Sinusoidal",
    "SinusoidalHalves",
    "SinusoidalSum",
    "StoredSinusoidal",
    "Stretched",
]
