"""Rotary frequencies for contexts longer than those of the training."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from omniformer.core import checks
from omniformer.core.ranges import Count, Positive


class Scaling(ABC):
    """Changes the frequencies of rotary positions.

    A subclass implements `__call__`; `amplitude` multiplies the rotated queries and keys. One whose frequencies depend
    on how long a text is says for which texts its `of_length` is asked.
    """

    amplitude: float = 1.0
    longest: int | None = None
    """The longest text that has the frequencies of `__call__`; None where all have."""

    @abstractmethod
    def __call__(self, frequency: Tensor, *, base: float) -> Tensor:
        """The new frequencies.

        Args:
            frequency: angle that one position turns, by feature pair, from 1 downwards.
            base: of the powers that the frequencies are.

        Shapes:
            float64 `[frequencies]` → the same.
        """

    def of_length(self, frequency: Tensor, length: Tensor) -> Tensor:
        """The frequencies of texts that are longer than `longest`: those of all, unless a subclass has others.

        Args:
            frequency: those of shorter ones.
            length: of each text, in tokens.

        Shapes:
            float `[frequencies]` and int64 `[texts, 1]` → `[texts, frequencies]`.
        """
        return frequency.expand(len(length), -1)


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


class DynamicNTK(Scaling):
    """`NTKScaling` of texts longer than those of the training, the more the longer they are
    ([emozilla 2023](https://www.reddit.com/r/LocalLLaMA/comments/14mrgpr/), "dynamic NTK"). Each text has the
    frequencies of its own length, whatever its neighbours.

    Written token by token with a cache, a text that grows beyond `original_seq_len` keeps its first keys as they were.

    Args:
        factor: how fast the base grows with the length.
        original_seq_len: context length of the training.

    Raises:
        ValueError: `factor` or `original_seq_len` is below 1.

    Example:
        >>> scaling = DynamicNTK(factor=1.0, original_seq_len=4)
        >>> scaling.of_length(torch.tensor([1.0, 0.5]), torch.tensor([[8]])).tolist()
        [[1.0, 0.25]]
    """

    def __init__(self, *, factor: Positive, original_seq_len: Count) -> None:
        self.factor = _checked(factor)
        self.original_seq_len = self.longest = _checked_length(original_seq_len)

    def __call__(self, frequency: Tensor, *, base: float) -> Tensor:
        return frequency

    def of_length(self, frequency: Tensor, length: Tensor) -> Tensor:
        growth = self.factor * length.double() / self.original_seq_len - (self.factor - 1)
        n = len(frequency)
        steps = torch.arange(n, dtype=torch.float64, device=frequency.device) / max(n - 1, 1)
        return (frequency * growth.clamp(min=1) ** -steps).to(frequency.dtype)


class LongRoPE(Scaling):
    """Every frequency is divided by a factor of its own, one for texts as long as in the training and another for
    longer ones ([Ding et al. 2024](https://arxiv.org/abs/2402.13753)). Each text has the frequencies of its own length,
    whatever its neighbours.

    Written token by token with a cache, a text that grows beyond `original_seq_len` keeps its first keys as they were.

    Args:
        short: the factors of texts of up to `original_seq_len` tokens.
        long: those of longer ones.
        original_seq_len: context length of the training.
        amplitude: factor of the rotated queries and keys.

    Raises:
        ValueError: `original_seq_len` is below 1; at first use, there are more or fewer factors than frequencies.

    Example:
        >>> scaling = LongRoPE(short=[1.0, 1.0], long=[1.0, 4.0], original_seq_len=4)
        >>> scaling.of_length(torch.tensor([1.0, 0.5]), torch.tensor([[8]])).tolist()
        [[1.0, 0.125]]
    """

    def __init__(
        self, *, short: Sequence[Positive], long: Sequence[Positive], original_seq_len: Count, amplitude: float = 1.0
    ) -> None:
        self.short, self.long, self.longest = list(short), list(long), _checked_length(original_seq_len)
        self.amplitude = amplitude

    def __call__(self, frequency: Tensor, *, base: float) -> Tensor:
        if not len(self.short) == len(self.long) == len(frequency):
            raise ValueError(
                f"short has {len(self.short)} and long {len(self.long)} factors for {len(frequency)} frequencies; give "
                "one for each"
            )
        return frequency / torch.tensor(self.short, dtype=frequency.dtype)

    def of_length(self, frequency: Tensor, length: Tensor) -> Tensor:
        ratio = torch.tensor(self.short, dtype=torch.float64) / torch.tensor(self.long, dtype=torch.float64)
        return (frequency * ratio.to(frequency.device)).to(frequency.dtype).expand(len(length), -1)


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
        beta_fast: Positive = 32.0,
        beta_slow: Positive = 1.0,
        amplitude: float | None = None,
        whole: bool = True,
    ) -> None:
        checks.positive(beta_fast=beta_fast, beta_slow=beta_slow)
        self.factor = _checked(factor)
        self.original_seq_len, self.beta_fast, self.beta_slow = _checked_length(original_seq_len), beta_fast, beta_slow
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


def _checked_length(original_seq_len: int) -> int:
    if original_seq_len < 1:
        raise ValueError(f"original_seq_len={original_seq_len} must be at least 1")
    return original_seq_len
