"""Random changes of raw pictures and sounds that leave their classes as they are."""

import math
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from omniformer.core.ranges import NotNegative, Share

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class ImageJitter:
    """Shifts, turns, scales and mirrors a picture a little, and adds noise; one sampling of the pixels does it all.

    Args:
        shift: the farthest shift in each direction, as a share of the side.
        rotate: the largest turn either way, in degrees.
        scale: the largest change of size either way, as a share: 0.1 gives 0.9 to 1.1.
        flip: how likely the picture is mirrored left to right; leave 0 where that changes the class, as with digits.
        noise: standard deviation of the noise, as a share of the full brightness.
        channels: how files are decoded, 1, 3 or 4; the tokenizer's number. Tensors keep theirs.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> image = torch.zeros(1, 8, 8, dtype=torch.uint8)
        >>> ImageJitter(rotate=10)(image, torch.Generator().manual_seed(0)).shape
        torch.Size([1, 8, 8])
    """

    def __init__(
        self,
        *,
        shift: NotNegative = 0.0,
        rotate: NotNegative = 0.0,
        scale: NotNegative = 0.0,
        flip: Share = 0.0,
        noise: float = 0.0,
        channels: Literal[1, 3, 4] = 3,
    ) -> None:
        _in_range(0, 1, shift=shift, flip=flip, noise=noise)
        _in_range(0, 180, rotate=rotate)
        _in_range(0, 0.9, scale=scale)
        if channels not in _MODES:
            raise ValueError(f"channels={channels} is not known; choose 1, 3 or 4")
        self.shift = shift
        self.rotate = rotate
        self.scale = scale
        self.flip = flip
        self.noise = noise
        self.channels = channels

    def __call__(self, image: Tensor | str | Path | bytes, generator: torch.Generator) -> Tensor:
        """The changed picture; all randomness comes from `generator`.

        Raises:
            MediaError: a file cannot be read as a picture.

        Shapes:
            image uint8 0..255 or float 0..1 `[channels, height, width]`, or a file; the result has its shape and dtype.
        """
        if not isinstance(image, Tensor):
            from omniformer_tokenizers.media import read_image

            image = read_image(image, mode=_MODES[self.channels])
        pixels = image.float() / 255 if image.dtype == torch.uint8 else image
        height, width = pixels.shape[-2:]
        grid = functional.affine_grid(self._move(generator, width / height), [1, *pixels.shape], align_corners=False)
        moved = functional.grid_sample(pixels[None], grid, padding_mode="border", align_corners=False)[0]
        if self.noise:
            moved = (moved + self.noise * torch.randn(moved.shape, generator=generator)).clamp(0, 1)
        return (moved * 255).round().to(torch.uint8) if image.dtype == torch.uint8 else moved

    def _move(self, generator: torch.Generator, aspect: float) -> Tensor:
        """Where each pixel is taken from, as an affine map of coordinates -1..1; turns are rigid at any aspect."""
        right, down, turn, size = (2 * torch.rand(4, generator=generator) - 1).tolist()
        mirror = -1.0 if torch.rand((), generator=generator) < self.flip else 1.0
        angle = math.radians(self.rotate * turn)
        factor = 1 / (1 + self.scale * size)
        cos, sin = factor * math.cos(angle), factor * math.sin(angle)
        return torch.tensor(
            [
                [
                    [mirror * cos, -sin / aspect, 2 * self.shift * right],
                    [mirror * sin * aspect, cos, 2 * self.shift * down],
                ]
            ]
        )


class AudioJitter:
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
        _in_range(0, math.inf, gain=gain, shift=shift)
        self.gain = gain
        self.shift = shift
        self.noise = noise

    def __call__(self, sound: Any, generator: torch.Generator) -> tuple[Tensor, int]:
        """The changed sound and its sample rate; all randomness comes from `generator`.

        Raises:
            MediaError: a file cannot be read as a sound.
            TypeError: a waveform comes without its sample rate.

        Shapes:
            sound a pair of a waveform, float `[time]` or `[channels, time]`, and its rate, or a file; the result has
            the shape of the waveform.
        """
        wave, rate = self._read(sound)
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

    def _read(self, sound: Any) -> tuple[Tensor, int]:
        if isinstance(sound, str | Path | bytes):
            from omniformer_tokenizers.media import read_audio

            return read_audio(sound)
        if not isinstance(sound, tuple):
            raise TypeError(f"received {type(sound).__name__}; expected a pair (waveform, sample rate) or a file")
        return sound


def _in_range(low: float, high: float, **values: float) -> None:
    for name, value in values.items():
        if not low <= value <= high:
            raise ValueError(f"{name}={value} must be in {low:g}..{high:g}")
