"""Rotary frequencies for contexts longer than those of the training."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from omniformer.core.ranges import Count, Positive


class Scaling(ABC):
    """Changes the frequencies of rotary positions.

    A subclass implements `__call__`; `amplitude` multiplies the rotated queries and keys.
    """

    amplitude: float = 1.0

    @abstractmethod
    def __call__(self, frequency: Tensor, *, base: float) -> Tensor:
        """The new frequencies.

        Args:
            frequency: angle that one position turns, by feature pair, from 1 downwards.
            base: of the powers that the frequencies are.

        Shapes:
            float64 `[frequencies]` → the same.
        """


class LinearScaling(Scaling):
    """Positions are divided by a factor ([Chen et al. 2023](https://arxiv.org/abs/2306.15595), position interpolation).

    Args:
        factor: how many times longer the context may be.

    Raises:
        ValueError: `factor` is below 1.

    Example:
        >>> LinearScaling(factor=4.0)(torch.tensor([1.0, 0.5]), base=4.0).tolist()
        [0.25, 0.125]
    """

    def __init__(self, *, factor: Positive) -> None:
        self.factor = _checked(factor)

    def __call__(self, frequency: Tensor, *, base: float) -> Tensor:
        return frequency / self.factor


class NTKScaling(Scaling):
    """The base grows so that the slowest frequency is divided by a factor and the fastest stays
    ([bloc97 2023](https://www.reddit.com/r/LocalLLaMA/comments/14lz7j5/), "NTK-aware"; equation 16 of
    [YaRN](https://arxiv.org/abs/2309.00071)).

    Args:
        factor: how many times longer the context may be.

    Raises:
        ValueError: `factor` is below 1.

    Example:
        >>> NTKScaling(factor=4.0)(torch.tensor([1.0, 0.5]), base=4.0).tolist()
        [1.0, 0.125]
    """

    def __init__(self, *, factor: Positive) -> None:
        self.factor = _checked(factor)

    def __call__(self, frequency: Tensor, *, base: float) -> Tensor:
        n = len(frequency)
        if n == 1:
            return frequency
        # base * factor ** (d / (d - 2)) to the power -2i/d, with d = 2n, is the old frequency times this.
        return frequency * self.factor ** -(torch.arange(n, dtype=frequency.dtype) / (n - 1))


class YaRN(Scaling):
    """Fast frequencies stay, slow ones are divided by a factor, those between are mixed, and scores grow a little
    ([Peng et al. 2023](https://arxiv.org/abs/2309.00071)).

    Args:
        factor: how many times longer the context may be.
        original_seq_len: context length of the training.
        beta_fast: frequencies that turn more often than this over the original context stay; 32 as in the paper.
        beta_slow: frequencies that turn less often than this are divided; 1 as in the paper.
        amplitude: factor of the rotated queries and keys; `0.1 log(factor) + 1` by default, as in the paper (equation
            22).
        whole: whether the two bounds of the mix are rounded outwards to whole frequencies, as in the paper's code;
            models trained with bounds in between, such as gpt-oss, need False.

    Raises:
        ValueError: `factor` or `original_seq_len` is below 1, or `amplitude` is not above 0.

    Example:
        >>> YaRN(factor=4.0, original_seq_len=2048)(torch.tensor([1.0, 1e-4]), base=1e8)[0].item()
        1.0
    """

    def __init__(
        self,
        *,
        factor: Positive,
        original_seq_len: Count,
        beta_fast: float = 32.0,
        beta_slow: float = 1.0,
        amplitude: float | None = None,
        whole: bool = True,
    ) -> None:
        self.factor = _checked(factor)
        if original_seq_len < 1:
            raise ValueError(f"original_seq_len={original_seq_len} must be at least 1")
        self.original_seq_len, self.beta_fast, self.beta_slow = original_seq_len, beta_fast, beta_slow
        self.amplitude = 0.1 * math.log(factor) + 1.0 if amplitude is None else amplitude
        if self.amplitude <= 0:
            raise ValueError(f"amplitude={amplitude} must be above 0")
        self.whole = whole

    def __call__(self, frequency: Tensor, *, base: float) -> Tensor:
        n = len(frequency)

        def place(turns: float) -> float:
            """Which frequency turns so often over the original context, as a fractional index."""
            return n * math.log(self.original_seq_len / (2 * math.pi * turns)) / math.log(base)

        low, high = place(self.beta_fast), place(self.beta_slow)
        if self.whole:
            low, high = math.floor(low), math.ceil(high)
        # Bounds, and a ramp that is never a step, as in the paper's code.
        low, high = max(low, 0), min(high, 2 * n - 1)
        ramp = (torch.arange(n, dtype=frequency.dtype) - low) / ((high - low) or 0.001)
        divided = ramp.clamp(0, 1)
        return frequency / self.factor * divided + frequency * (1 - divided)


class Llama3Scaling(Scaling):
    """Waves shorter than a share of the original context stay, longer ones are stretched, those between are mixed
    ([Grattafiori et al. 2024](https://arxiv.org/abs/2407.21783), Llama 3.1).

    Args:
        factor: how many times longer the context may be; 8 as in Llama 3.1.
        original_seq_len: context length of the training; 8,192 as in Llama 3.
        low: waves longer than `original_seq_len / low` are stretched whole.
        high: waves shorter than `original_seq_len / high` stay.

    Raises:
        ValueError: `factor` or `original_seq_len` is below 1, or `high` does not exceed `low`.

    Example:
        >>> Llama3Scaling()(torch.tensor([1.0, 2**-16]), base=5e5).tolist() == [1.0, 2**-19]
        True
    """

    def __init__(
        self, *, factor: Positive = 8.0, original_seq_len: Count = 8192, low: float = 1.0, high: float = 4.0
    ) -> None:
        self.factor = _checked(factor)
        if original_seq_len < 1 or high <= low:
            raise ValueError(f"original_seq_len={original_seq_len} must be at least 1, and high={high} above low={low}")
        self.original_seq_len, self.low, self.high = original_seq_len, low, high

    def __call__(self, frequency: Tensor, *, base: float) -> Tensor:
        turns = self.original_seq_len * frequency / (2 * math.pi)
        kept = ((turns - self.low) / (self.high - self.low)).clamp(0, 1)
        return frequency * kept + frequency / self.factor * (1 - kept)


def _checked(factor: float) -> float:
    if factor < 1:
        raise ValueError(f"factor={factor} must be at least 1: it says how many times longer the context may be")
    return factor
