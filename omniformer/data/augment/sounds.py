"""Random changes of sounds that leave their classes as they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omniformer_tokenizers.media import read_audio
from omniformer_tokenizers.rates import resampled
from torch import Generator, Tensor
from torch.nn import functional

from omniformer.core import checks
from omniformer.core.ranges import NotNegative, Positive, Share
from omniformer.data.augment.augmentation import Augmentation

Sound = tuple[Tensor, int]  # a waveform and its sample rate


class AudioJitter(Augmentation):
    """Makes a sound louder or softer, moves it in time, and adds noise.

    Args:
        gain: the largest change of level either way, in decibels.
        shift: the farthest move either way, in seconds; what leaves at one end is lost, silence enters at the other.
        noise: level of the added noise relative to the sound, in decibels, for example -30; None adds none.

    Raises:
        ValueError: `gain` or `shift` is negative.

    Example:
        >>> wave, rate = AudioJitter(gain=6)((torch.ones(80), 8000), torch.Generator().manual_seed(0))
        >>> wave.shape, rate
        (torch.Size([80]), 8000)
    """

    def __init__(self, *, gain: NotNegative = 0.0, shift: NotNegative = 0.0, noise: float | None = None) -> None:
        checks.not_negative(gain=gain, shift=shift)
        self.gain = gain
        self.shift = shift
        self.noise = noise

    def __call__(self, sound: Any, generator: Generator) -> Sound:
        """The changed sound and its sample rate; all randomness comes from `generator`.

        Raises:
            MediaError: a file cannot be read as a sound.
            TypeError: a waveform comes without its sample rate.

        Shapes:
            sound a pair of a waveform, float `[time]` or `[channels, time]`, and its rate, or a file; the result has
            the shape of the waveform.
        """
        wave, rate = read_sound(sound)
        if self.gain:
            wave = wave * 10 ** (self.gain * (2 * float(torch.rand((), generator=generator)) - 1) / 20)
        if self.shift:
            by = round(self.shift * rate * (2 * float(torch.rand((), generator=generator)) - 1))
            by = max(-wave.shape[-1], min(by, wave.shape[-1]))
            wave = functional.pad(wave, (max(by, 0), max(-by, 0)))
            wave = wave[..., : wave.shape[-1] - by] if by > 0 else wave[..., -by:]
        if self.noise is not None and wave.numel():
            level = wave.square().mean().sqrt() * 10 ** (self.noise / 20)
            wave = wave + level * torch.randn(wave.shape, generator=generator)
        return wave, rate


class Speed(Augmentation):
    """Plays a sound faster or slower, which moves its pitch too
    ([Ko et al. 2015](https://doi.org/10.21437/Interspeech.2015-711)).

    Args:
        factors: the speeds of which one is drawn: of 2, a sound lasts half as long.

    Raises:
        ValueError: there is no factor, or one is not above 0.

    Example:
        >>> wave, rate = Speed(factors=[2.0])((torch.ones(800), 8000), torch.Generator().manual_seed(0))
        >>> wave.shape, rate
        (torch.Size([400]), 8000)
    """

    def __init__(self, *, factors: Sequence[Positive] = (0.9, 1.0, 1.1)) -> None:
        if not factors:
            raise ValueError("factors=[] has no speed to draw; give one or more, 1.0 for that of the recording")
        for factor in factors:
            checks.positive(factors=factor)
        self.factors = tuple(factors)

    def __call__(self, sound: Any, generator: Generator) -> Sound:
        """The changed sound and its sample rate; as for `AudioJitter`, but for the length."""
        wave, rate = read_sound(sound)
        factor = self.factors[int(torch.randint(len(self.factors), (), generator=generator))]
        if not wave.numel():
            return wave, rate
        channels = [resampled(each, round(rate * factor), rate) for each in wave.reshape(-1, wave.shape[-1])]
        return torch.stack(channels).reshape(*wave.shape[:-1], -1), rate


class Reverberation(Augmentation):
    """Puts a sound into a room: an echo of decaying noise, drawn anew each time
    ([Polack 1988](https://theses.fr/1988LEMA1011)).

    Args:
        seconds: the longest time in which the echo falls by 60 decibels; each between none and this is as likely.
        level: the largest share of the echo in the sound, by amplitude; the rest is the sound itself.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> wave, rate = Reverberation(seconds=0.3)((torch.ones(800), 8000), torch.Generator().manual_seed(0))
        >>> wave.shape, rate
        (torch.Size([800]), 8000)
    """

    def __init__(self, *, seconds: NotNegative = 0.5, level: Share = 0.3) -> None:
        checks.not_negative(seconds=seconds)
        checks.share(level=level)
        self.seconds = seconds
        self.level = level

    def __call__(self, sound: Any, generator: Generator) -> Sound:
        """The changed sound, as loud and as long as before, and its sample rate; as for `AudioJitter`."""
        wave, rate = read_sound(sound)
        seconds, level = (torch.rand(2, generator=generator) * torch.tensor([self.seconds, self.level])).tolist()
        length = round(seconds * rate)
        if not length or not wave.numel():
            return wave, rate
        time = torch.arange(length) / length
        room = torch.randn(length, generator=generator) * 10 ** (-3 * time)  # 60 decibels are a factor of 1,000
        wet = _convolved(wave, room / room.square().sum().sqrt())
        loudness = wave.square().mean().sqrt()
        mixed = (1 - level) * wave + level * wet
        return mixed * (loudness / mixed.square().mean().sqrt().clamp(min=1e-12)), rate


def read_sound(sound: Any) -> Sound:
    """A waveform and its sample rate, from a pair of them or from a file.

    Raises:
        MediaError: a file cannot be read as a sound.
        TypeError: a waveform comes without its sample rate.
    """
    if isinstance(sound, str | Path | bytes):
        return read_audio(sound)
    if not isinstance(sound, tuple):
        raise TypeError(f"received {type(sound).__name__}; expected a pair (waveform, sample rate) or a file")
    return sound


def _convolved(wave: Tensor, room: Tensor) -> Tensor:
    """What is heard while the wave lasts of its every sample set off the room."""
    length = wave.shape[-1]
    n = length + len(room) - 1
    return torch.fft.irfft(torch.fft.rfft(wave, n) * torch.fft.rfft(room, n), n)[..., :length]
