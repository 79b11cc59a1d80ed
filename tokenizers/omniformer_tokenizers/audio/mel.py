"""Log-mel features in plain torch: a Fourier transform of a few hundred frames at a time, and one matrix product."""

from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

# Energies below this are silence; ten decades under the loudest 16-bit sound.
FLOOR = 1e-10

# So many frames stay in a core's own cache; all at once are several times slower.
_FRAMES_AT_ONCE = 512


def mel_frames(
    waves: Tensor,
    *,
    sample_rate: int,
    n_mels: int,
    n_fft: int,
    hop_length: int,
    f_min: float = 0.0,
    f_max: float | None = None,
    scale: Literal["htk", "slaney"] = "htk",
) -> Tensor:
    """Mel energies of waveforms of one length: Hann window, power spectrum, triangular filters, frames centred.

    Frame t is centred on sample `t * hop_length`; beyond its ends a wave is mirrored, or, where it is too short for
    that, silent.

    Args:
        waves: samples, usually between -1 and 1.
        sample_rate: in Hz.
        n_mels: number of bands.
        n_fft: window length in samples.
        hop_length: samples from one frame to the next.
        f_min: lower edge of the lowest band, in Hz.
        f_max: upper edge of the highest band, in Hz; half the sample rate when left out.
        scale: the mel formula and the height of the filters: `htk` (height 1) or `slaney` (area 1).

    Shapes:
        waves `[batch, time]`; returns `[batch, 1 + time // hop_length, n_mels]`, no frame for an empty wave.
    """
    n_frames = 1 + waves.shape[-1] // hop_length if waves.shape[-1] else 0
    energies = waves.new_empty(len(waves), n_frames, n_mels)
    if not energies.numel():
        return energies
    # An odd window reaches as far to the right of its centre as to the left, which takes one more sample than half.
    before, after = n_fft // 2, n_fft - n_fft // 2
    short = max(after + 1 - waves.shape[-1], 0)
    waves = functional.pad(functional.pad(waves, (0, short))[:, None], (before, after), mode="reflect")[:, 0]
    bank = _bank_of_parts(n_fft, n_mels, sample_rate, f_min, f_max or sample_rate / 2, scale)
    for frames, out in zip(waves.unfold(1, n_fft, hop_length)[:, :n_frames], energies, strict=True):
        for start in range(0, n_frames, _FRAMES_AT_ONCE):
            stop = min(start + _FRAMES_AT_ONCE, n_frames)
            spectrum = torch.view_as_real(torch.fft.rfft(frames[start:stop] * _hann(n_fft)))
            torch.mm(spectrum.square_().flatten(1), bank, out=out[start:stop])
    return energies


def stacked_mel_frames(
    waves: Tensor,
    *,
    sample_rate: int,
    n_mels: int,
    n_fft: int,
    hop_length: int,
    f_min: float = 0.0,
    f_max: float | None = None,
    scale: Literal["htk", "slaney"] = "htk",
) -> Tensor:
    """`mel_frames` for tracers, which know no length: all frames at once, the Fourier transform as a product with its
    matrix. It is computed in double precision, as sums of hundreds of products round more than a fast transform does.

    Args:
        waves: as for `mel_frames`, longer than half a window.
        sample_rate: this and the rest as for `mel_frames`.

    Shapes:
        waves `[batch, time]`; returns `[batch, 1 + time // hop_length, n_mels]`.
    """
    before, after = n_fft // 2, n_fft - n_fft // 2
    starts = hop_length * torch.arange(1 + waves.shape[1] // hop_length)
    waves = functional.pad(waves[:, None], (before, after), mode="reflect")[:, 0]
    frames = waves[:, starts[:, None] + torch.arange(n_fft)].double() * _hann(n_fft)
    turn = 2 * torch.pi / n_fft * torch.outer(torch.arange(n_fft), torch.arange(1 + n_fft // 2)).double()
    squares = (frames @ torch.stack([turn.cos(), turn.sin()], dim=-1).flatten(1)).square()
    bank = _bank_of_parts(n_fft, n_mels, sample_rate, f_min, f_max or sample_rate / 2, scale)
    return (squares @ bank.double()).float()


def kaldi_frames(wave: Tensor, *, sample_rate: int, n_mels: int, window: Literal["povey", "hanning"]) -> Tensor:
    """The logarithmic filter-bank features of the Kaldi toolkit: 25 ms frames every 10 ms, none beyond the ends.

    Each frame loses its mean, is pre-emphasised (0.97), windowed, and filtered from 20 Hz up by triangles that are
    straight on the mel scale.

    Args:
        wave: samples.
        sample_rate: in Hz.
        n_mels: number of bands.
        window: Kaldi's own `povey`, or `hanning` as in AST.

    Shapes:
        wave `[time]`; returns float32 `[frames, n_mels]`, no frame where the wave is shorter than 25 ms.
    """
    length, hop = int(sample_rate * 0.025), int(sample_rate * 0.01)
    if len(wave) < length:
        return wave.new_zeros(0, n_mels)
    frames = wave.unfold(0, length, hop)
    frames = frames - frames.mean(1, keepdim=True)
    frames = frames - 0.97 * torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    shape = torch.hann_window(length, periodic=False)
    frames = frames * (shape**0.85 if window == "povey" else shape)
    n_fft = 1 << (length - 1).bit_length()
    power = torch.fft.rfft(frames, n_fft).abs().square()
    energies = power @ _kaldi_bank(n_fft // 2 + 1, n_mels, sample_rate)
    return energies.clamp(min=torch.finfo(torch.float32).eps).log()


@lru_cache(maxsize=16)
def _kaldi_bank(n_bins: int, n_mels: int, sample_rate: int) -> Tensor:
    mel = torch.linspace(_hz_to_mel(20.0, "htk"), _hz_to_mel(sample_rate / 2, "htk"), n_mels + 2, dtype=torch.float64)
    hz = torch.linspace(0, sample_rate / 2, n_bins, dtype=torch.float64)
    bins = 2595 * torch.log10(1 + hz / 700)[:, None]
    rising, falling = (bins - mel[:-2]) / (mel[1:-1] - mel[:-2]), (mel[2:] - bins) / (mel[2:] - mel[1:-1])
    bank = torch.minimum(rising, falling).clamp(min=0)
    bank[-1] = 0  # Kaldi leaves the bin at half the sample rate out
    return bank.float()


@lru_cache(maxsize=16)
def filter_bank(n_fft: int, n_mels: int, sample_rate: int, f_min: float, f_max: float, scale: str) -> Tensor:
    """Triangular filters from the bins of a spectrum of `n_fft` samples to mel bands.

    Bin i is at `i * sample_rate / n_fft` Hz; the last one is at half the sample rate only where `n_fft` is even.

    Shapes:
        float32 `[1 + n_fft // 2, n_mels]`.
    """
    edges = _mel_to_hz(torch.linspace(_hz_to_mel(f_min, scale), _hz_to_mel(f_max, scale), n_mels + 2).double(), scale)
    bins = torch.arange(1 + n_fft // 2, dtype=torch.float64)[:, None] * (sample_rate / n_fft)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    bank = torch.minimum(rising, falling).clamp(min=0)
    if scale == "slaney":
        bank = bank * (2 / (edges[2:] - edges[:-2]))
    return bank.float()


@lru_cache(maxsize=16)
def _bank_of_parts(*settings: Any) -> Tensor:
    """The filters for squares of real and imaginary parts side by side, which thus need not be added up first."""
    return filter_bank(*settings).repeat_interleave(2, dim=0)


@lru_cache(maxsize=16)
def _hann(length: int) -> Tensor:
    return torch.hann_window(length)


def _hz_to_mel(hz: float, scale: str) -> float:
    frequency = torch.tensor(hz, dtype=torch.float64)
    if scale == "htk":
        return float(2595 * torch.log10(1 + frequency / 700))
    # Slaney's scale: linear below 1 kHz (15 mel), then 27 logarithmic steps to 6.4 kHz.
    step = torch.log(torch.tensor(6.4, dtype=torch.float64)) / 27
    return float(frequency * 3 / 200 if hz < 1000 else 15 + torch.log(frequency / 1000) / step)


def _mel_to_hz(mel: Tensor, scale: str) -> Tensor:
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    step = torch.log(torch.tensor(6.4, dtype=torch.float64)) / 27
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp(step * (mel - 15)))
