"""Sound at another sample rate, with the aliases filtered out; time and memory grow with its length, not with rates."""

from math import ceil, gcd
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from omniformer_tokenizers._checks import need
from omniformer_tokenizers.limits import MAX_RATE, MAX_RATE_RATIO, MAX_SAMPLES, advice, allowed

# torchaudio keeps the filter of every phase in memory; with more numbers than this, phases are made as they come.
_KERNEL_NUMBERS = 1_000_000
_NUMBERS_AT_ONCE = 262_144
_ZEROS, _ROLLOFF = 6, 0.99  # torchaudio's defaults: zero crossings of the sinc on a side, and where it begins to fall


def resampled(wave: Tensor, rate: Any, target: int) -> Tensor:
    """A waveform of `rate` Hz at `target` Hz, with the aliases filtered out by a windowed sinc.

    Shapes:
        `[time]` to `[ceil(time * target / rate)]`.

    Raises:
        ValueError: `rate` is not a whole number from 1 to 768,000, or the sound would become too long.
    """
    rate = checked_rate(rate)
    if rate == target or not len(wave):
        return wave
    if rate > MAX_RATE_RATIO * target:
        raise ValueError(
            f"a sound of {rate} Hz was to become one of {target} Hz; at most {MAX_RATE_RATIO} times are accepted, "
            "choose a higher sample_rate"
        )
    length = -(-len(wave) * target // rate)
    if length > allowed(MAX_SAMPLES):
        raise ValueError(
            f"{len(wave)} samples of {rate} Hz become {length} of {target} Hz; at most {allowed(MAX_SAMPLES)} are "
            f"accepted{advice()}"
        )
    old, new = rate // gcd(rate, target), target // gcd(rate, target)
    reach = ceil(_ZEROS * old / (min(old, new) * _ROLLOFF))
    if new * (2 * reach + old) <= _KERNEL_NUMBERS:
        return need("torchaudio.functional", "resampling").resample(wave, rate, target)
    return _in_steps(wave, old, new, reach, length)


def checked_rate(rate: Any) -> int:
    """A sample rate as a whole number.

    Raises:
        ValueError: it is not a whole number from 1 to 768,000.
    """
    if isinstance(rate, bool) or not 1 <= rate <= MAX_RATE or int(rate) != rate:
        raise ValueError(f"sample rate {rate} Hz is not accepted; give a whole number from 1 to {MAX_RATE}")
    return int(rate)


def _in_steps(wave: Tensor, old: int, new: int, reach: int, length: int) -> Tensor:
    """What torchaudio computes, a few thousand outputs at a time, each with the filter of its own phase."""
    padded = functional.pad(wave.double(), (reach, reach + 1))
    taps = torch.arange(2 * reach + 2)
    base = min(old, new) * _ROLLOFF
    result = wave.new_empty(length)
    step = max(1, _NUMBERS_AT_ONCE // len(taps))
    for start in range(0, length, step):
        outputs = torch.arange(start, min(start + step, length))
        whole, rest = outputs * old // new, (outputs * old % new).double() / new
        distance = (taps.double() - reach - rest[:, None]) * (base / old)
        weights = torch.sinc(distance) * torch.cos(distance.clamp(-_ZEROS, _ZEROS) * (torch.pi / _ZEROS / 2)).square()
        result[start : start + step] = (padded[whole[:, None] + taps] * weights).sum(1) * (base / old)
    return result
