"""Sound to log-mel frames or time-frequency patches, any length and sample rate."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from omniformer_tokenizers._checks import at_least, need, one_of
from omniformer_tokenizers.audio.mel import FLOOR, filter_bank, mel_frames, stacked_mel_frames
from omniformer_tokenizers.media import naming, read_audio
from omniformer_tokenizers.ranges import Count, NotNegative, Positive
from omniformer_tokenizers.rates import resampled
from omniformer_tokenizers.tokenizer import Tokenizer
from omniformer_tokenizers.tokens import Tokens

MAX_SAMPLE = 1e9
Normalize = Literal["sample", "bands", "none"]
# Keeps digital silence, whose deviation is rounding noise, from being blown up.
_SILENT = 1e-4


class SpectrogramTokenizer(Tokenizer):
    """Turns sound into log-mel frames, or into patches over time and frequency (AST, Gong et al. 2021).

    Args:
        sample_rate: the rate the tokenizer works at, in Hz; other rates are resampled to it.
        n_mels: number of mel bands.
        n_fft: window length in samples.
        hop_length: samples from one frame to the next.
        f_min: lower edge of the lowest band, in Hz.
        f_max: upper edge of the highest band, in Hz; half the sample rate when left out.
        frames_per_token: frames joined into one token.
        frame_stride: frames from one token to the next; `frames_per_token` when left out. Smaller overlaps tokens.
        bands_per_token: bands of one token; None takes all, so that tokens have a time but no frequency axis. Tokens
            must reach the highest band exactly.
        band_stride: bands from one token to the next; `bands_per_token` when left out.
        stretch_to: frames that every sound is stretched or squeezed to before it is cut to tokens (linear time
            normalization), so that how long a word takes is not told and the same token is the same part of it; for
            short sounds that begin and end with their recording. None leaves frames as they are.
        top_db: decibels below the loudest number of a sound under which all is as if so loud, as in librosa's
            `power_to_db`, which has 80; digital silence else lies so far down that all that is heard looks alike. None
            leaves numbers as they are.
        normalize: `sample` gives each sound mean 0 and standard deviation 1 over all its frames and bands, which takes
            the recording level away. `bands` takes each band's own mean away before (cepstral mean subtraction, Atal
            1974), and so what a voice or a microphone does to a whole recording, with all that never changes in it:
            for words of voices that training has not heard, not for steady sounds, which are told apart by just that.
            `none` keeps natural logarithms of energy.
        downmix: how several channels become one: their `mean`, the `first`, or an `error`.

    Raises:
        ValueError: a size is not positive, a stride exceeds its token, or tokens do not cover `n_mels` bands exactly.

    Example:
        >>> import torch
        >>> tokens = SpectrogramTokenizer(sample_rate=8000, n_mels=40, frames_per_token=2)(torch.randn(8000))
        >>> tokens.values.shape, tokens.positions[:3, 0].tolist()
        (torch.Size([26, 80]), [0.0, 1.0, 2.0])
    """

    modality = "audio"

    def __init__(
        self,
        *,
        sample_rate: Count = 16000,
        n_mels: Count = 80,
        n_fft: Count = 400,
        hop_length: Count = 160,
        f_min: NotNegative = 0.0,
        f_max: Positive | None = None,
        frames_per_token: Count = 1,
        frame_stride: Count | None = None,
        bands_per_token: Count | None = None,
        band_stride: Count | None = None,
        stretch_to: Count | None = None,
        top_db: Positive | None = None,
        normalize: Normalize = "sample",
        downmix: Literal["mean", "first", "error"] = "mean",
    ) -> None:
        at_least(1, sample_rate=sample_rate, n_mels=n_mels, n_fft=n_fft, hop_length=hop_length)
        at_least(1, frames_per_token=frames_per_token, frame_stride=frame_stride)
        at_least(1, bands_per_token=bands_per_token, band_stride=band_stride, stretch_to=stretch_to)
        if top_db is not None and not 0 < top_db < math.inf:
            raise ValueError(f"top_db={top_db} must be positive: decibels, such as 80; or None")
        one_of(get_args(Normalize), normalize=normalize)
        one_of(("mean", "first", "error"), downmix=downmix)
        top = sample_rate / 2 if f_max is None else f_max
        if not 0 <= f_min < top <= sample_rate / 2:
            raise ValueError(
                f"f_min={f_min}, f_max={top}: need 0 <= f_min < f_max <= sample_rate / 2 = {sample_rate / 2}"
            )
        if (bands_per_token or n_mels) > n_mels:
            raise ValueError(f"bands_per_token={bands_per_token} exceeds n_mels={n_mels}")
        for name, stride, size in (
            ("frame_stride", frame_stride, frames_per_token),
            ("band_stride", band_stride, bands_per_token or n_mels),
        ):
            if stride is not None and stride > size:
                raise ValueError(f"{name}={stride} exceeds the token's {size}: what lies between would be lost")
        self._check_bands(n_mels, bands_per_token or n_mels, band_stride)
        self.sample_rate = sample_rate
        self.n_mels = n_mels
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.f_min = f_min
        self.f_max = f_max
        self.frames_per_token = frames_per_token
        self.frame_stride = frame_stride
        self.bands_per_token = bands_per_token
        self.band_stride = band_stride
        self.stretch_to = stretch_to
        self.top_db = top_db
        self.normalize = normalize
        self.downmix = downmix

    @property
    def facts(self) -> Mapping[str, Any]:
        """`features` of a token, and the number of position `axes`: time, and frequency where tokens have one; then
        the one of `channels`, and the `tile` of frames and bands, or the smaller `stride` where tiles overlap.
        """
        time, bands = self.frames_per_token, self.bands_per_token or self.n_mels
        if self.bands_per_token is None:
            return {"features": time * bands, "axes": 1}
        steps = [self.frame_stride or time, self.band_stride or bands]
        cut = {"tile": [time, bands]} if steps == [time, bands] else {"stride": min(steps)}
        return {"features": time * bands, "axes": 2, "channels": 1, **cut}

    def __call__(self, raw: Any) -> Tokens:
        """The tokens of a sound: a waveform at `sample_rate`, a pair (waveform, its rate), a path, or a file's bytes.

        The last token is filled up with the sound's quietest value where frames run out. Positions count tokens along
        time (and frequency); token t starts at frame `t * frame_stride`.

        Raises:
            TypeError: not one of these.
            ValueError: a waveform of another shape, with numbers that are not finite or beyond 1e9, or with several
                channels where `downmix="error"`.
            MediaError: a file that cannot be decoded.

        Shapes:
            raw float `[time]` or `[channels, time]`; values float32 `[tokens, features]`, positions `[tokens, axes]`,
            and the facts `frames` int64 `[]` and, as `normalize` has it, what was taken away: `bands` float32
            `[n_mels]`, the mean of each, and `scale` float32 `[2]`, the mean and the deviation of all.
        """
        return self.from_frames(self.frames(raw))

    @property
    def stack_shape(self) -> tuple[int | None, ...] | None:
        """Samples at `sample_rate`, of any number."""
        return (None,)

    def stackable(self, raw: Any) -> Tensor:
        """A waveform at `sample_rate`, of one channel."""
        return mono(raw, sample_rate=self.sample_rate, downmix=self.downmix)

    def of_stack(self, raws: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The tokens of waveforms of one length `[samples, time]`, longer than half a window and than one token."""
        frames = self._stretched(self._stacked_frames(raws))
        if self.normalize == "bands":
            frames = frames - frames.mean(1, keepdim=True)
        if self.normalize != "none":
            deviation, mean = torch.std_mean(frames, dim=(1, 2), correction=0, keepdim=True)
            frames = (frames - mean) / deviation.clamp(min=_SILENT)
        time, bands = self.frames_per_token, self.bands_per_token or self.n_mels
        step, band_step = self.frame_stride or time, self.band_stride or bands
        n, m = (frames.shape[1] - time + step - 1) // step + 1, (self.n_mels - bands) // band_step + 1
        # The last token is filled up with the quietest value, of which a token's frames are enough.
        frames = torch.cat([frames, frames.amin((1, 2), keepdim=True).expand(-1, time, self.n_mels)], dim=1)
        windows = frames[:, step * torch.arange(n)[:, None] + torch.arange(time)]
        windows = windows[..., band_step * torch.arange(m)[:, None] + torch.arange(bands)]
        values = rearrange(windows, "samples n time m bands -> samples (n m) (time bands)")
        place = torch.arange(n * m)
        cells = torch.stack([place // m, place % m], dim=1)[:, : 1 if self.bands_per_token is None else 2]
        return values, cells.float().expand(values.shape[0], -1, -1), {}

    def _stacked_frames(self, waves: Tensor) -> Tensor:
        """`frames` of waveforms of one length, `[samples, frames, n_mels]`."""
        energies = stacked_mel_frames(
            waves,
            sample_rate=self.sample_rate,
            n_mels=self.n_mels,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            f_min=self.f_min,
            f_max=self.f_max,
        )
        return self._above_silence(energies.clamp(min=FLOOR).log())

    def frames(self, raw: Any) -> Tensor:
        """The log-mel frames of a sound, before they are normalised and joined to tokens.

        Shapes:
            float32 `[frames, n_mels]`.
        """
        wave = mono(raw, sample_rate=self.sample_rate, downmix=self.downmix)
        energies = mel_frames(
            wave[None],
            sample_rate=self.sample_rate,
            n_mels=self.n_mels,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            f_min=self.f_min,
            f_max=self.f_max,
        )[0]
        return self._above_silence(energies.clamp_(min=FLOOR).log_())

    def _above_silence(self, frames: Tensor) -> Tensor:
        """Frames `[..., frames, n_mels]` of sounds, none of them further below the loudest than `top_db`."""
        if self.top_db is None or not frames.shape[-2]:
            return frames
        return frames.maximum(frames.amax((-2, -1), keepdim=True) - self.top_db * math.log(10) / 10)

    def _stretched(self, frames: Tensor) -> Tensor:
        """Frames `[..., frames, n_mels]` in the number that `stretch_to` asks for."""
        return frames if self.stretch_to is None else _interpolated(frames, self.stretch_to)

    def from_frames(self, frames: Tensor) -> Tokens:
        """The tokens of log-mel frames: the second half of a call, for changing the frames in between.

        Shapes:
            frames float32 `[frames, n_mels]`.
        """
        facts = {"frames": torch.tensor(len(frames))}
        frames = self._stretched(frames)
        if self.normalize == "bands":
            facts["bands"] = frames.mean(0) if len(frames) else frames.new_zeros(self.n_mels)
            frames = frames - facts["bands"]
        if self.normalize != "none":
            frames, facts["scale"] = standardized(frames)
        values, positions = self._cut(frames)
        return Tokens(values=values, positions=positions, facts=facts, modality=self.modality)

    def to_frames(self, tokens: Tokens) -> Tensor:
        """The log-mel frames back from tokens, exact to rounding unless they were stretched; overlapping tokens are
        averaged.

        Shapes:
            float32 `[frames, n_mels]`.
        """
        time, bands = self.frames_per_token, self.bands_per_token or self.n_mels
        step, band_step = self.frame_stride or time, self.band_stride or bands
        length = int(tokens.facts["frames"])
        n_frames = self.stretch_to or length if length else 0
        rows = max(n_frames, int(tokens.positions[:, 0].max()) * step + time if len(tokens) else 0)
        total, count = torch.zeros(rows, self.n_mels), torch.zeros(rows, self.n_mels)
        for value, position in zip(tokens.values, tokens.positions.long().tolist(), strict=True):
            top, left = position[0] * step, (position[1] if len(position) > 1 else 0) * band_step
            total[top : top + time, left : left + bands] += value.reshape(time, bands)
            count[top : top + time, left : left + bands] += 1
        return _interpolated(restored((total / count.clamp(min=1))[:n_frames], tokens.facts), length)

    def decode(self, tokens: Tokens, *, iterations: int = 32) -> Tensor:
        """A sound with these frames, for listening: the phase is lost and found again by Griffin and Lim (1984).

        An approximation: it sounds alike, but its samples differ from the original's.

        Shapes:
            float32 `[time]` at `sample_rate`.
        """
        transforms = need("torchaudio.transforms", "turning frames into sound")
        frames = self.to_frames(tokens)
        length = max(len(frames) - 1, 0) * self.hop_length
        if not length:
            return torch.zeros(0)
        # The transform mirrors half a window at the ends, which must be there: the last frame lasts that long.
        lacking = max(self.n_fft // self.hop_length + 2 - len(frames), 0)
        frames = torch.cat([frames, frames[-1:].expand(lacking, -1)])
        top = self.f_max or self.sample_rate / 2
        bank = filter_bank(self.n_fft, self.n_mels, self.sample_rate, self.f_min, top, "htk")
        power = (frames.exp() @ torch.linalg.pinv(bank)).clamp(min=0)
        invert = transforms.GriffinLim(self.n_fft, iterations, hop_length=self.hop_length, rand_init=False)
        return invert(power.T)[:length]

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = "sample_rate n_mels n_fft hop_length f_min f_max frames_per_token frame_stride bands_per_token"
        return {
            name: getattr(self, name)
            for name in [*names.split(), "band_stride", "stretch_to", "top_db", "normalize", "downmix"]
        }

    def _check_bands(self, n_mels: int, bands: int, stride: int | None) -> None:
        """Refuses tokens that leave the highest bands out."""
        if left := (n_mels - bands) % (stride or bands):
            raise ValueError(
                f"bands_per_token={bands} every {stride or bands} bands leaves the top {left} of n_mels={n_mels} out; "
                f"choose n_mels={n_mels - left}, or other bands per token"
            )

    def _cut(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens of a spectrogram, and where they lie."""
        time, bands = self.frames_per_token, self.bands_per_token or self.n_mels
        step, band_step = self.frame_stride or time, self.band_stride or bands
        axes = 1 if self.bands_per_token is None else 2
        if not len(frames):
            return frames.new_zeros(0, time * bands), frames.new_zeros(0, axes)
        n = max(0, -(-(len(frames) - time) // step)) + 1
        silence = float(frames.min())
        frames = functional.pad(frames, (0, 0, 0, (n - 1) * step + time - len(frames)), value=silence)
        windows = frames.unfold(0, time, step).unfold(1, bands, band_step)
        values = rearrange(windows, "n m time bands -> (n m) (time bands)").contiguous()
        cells = torch.cartesian_prod(torch.arange(float(n)), torch.arange(float(windows.shape[1]))).reshape(-1, 2)
        return values, cells[:, :axes].contiguous()


def mono(raw: Any, *, sample_rate: int, downmix: str = "mean") -> Tensor:
    """Any accepted raw sound as one channel of float samples at `sample_rate`.

    Shapes:
        raw float `[time]` or `[channels, time]`; returns float32 `[time]`.
    """
    wave, rate = raw, sample_rate
    with naming(raw):
        if isinstance(raw, str | Path | bytes):
            wave, rate = read_audio(raw)
        elif isinstance(raw, tuple) and len(raw) == 2:
            wave, rate = raw
        if hasattr(wave, "__array__") and not isinstance(wave, Tensor):
            wave = torch.as_tensor(wave)
        return resampled(_one_channel(wave, downmix), rate, sample_rate)


def _one_channel(wave: Any, downmix: str) -> Tensor:
    if not isinstance(wave, Tensor):
        raise TypeError(
            f"received {type(wave).__name__}; expected a waveform, a pair (waveform, sample rate), a path or bytes"
        )
    if wave.ndim not in (1, 2) or not wave.is_floating_point():
        raise ValueError(f"received {wave.dtype} {list(wave.shape)}; expected floats [time] or [channels, time]")
    if wave.ndim == 2 and not len(wave):
        raise ValueError(f"received {list(wave.shape)}, a sound without a channel; expected one or more")
    # A file of floats may hold anything; energies of samples up to this size are still finite in single precision.
    if wave.numel() and not (peak := float(wave.abs().max())) <= MAX_SAMPLE:
        raise ValueError(f"the waveform reaches {peak:g}; expected finite numbers around -1..1, at most {MAX_SAMPLE:g}")
    if wave.ndim == 2:
        if downmix == "error" and len(wave) != 1:
            raise ValueError(f"received {len(wave)} channels; expected one, or downmix='mean' or 'first'")
        wave = wave[0] if downmix == "first" else wave.mean(0)
    return wave.float()


def _interpolated(frames: Tensor, n_frames: int) -> Tensor:
    """So many frames from the first to the last, `[..., frames, bands]` → `[..., n_frames, bands]`; of none none."""
    if frames.shape[-2] in (0, n_frames):
        return frames
    rows = frames.transpose(-2, -1).reshape(-1, frames.shape[-1], frames.shape[-2])
    rows = functional.interpolate(rows, size=n_frames, mode="linear", align_corners=False)
    return rows.transpose(-2, -1).reshape(*frames.shape[:-2], n_frames, frames.shape[-1])


def standardized(frames: Tensor) -> tuple[Tensor, Tensor]:
    """The frames with mean 0 and standard deviation 1 over all of them, and the mean and deviation they had.

    A constant sound gives zeros.

    Shapes:
        frames `[frames, bands]`, as returned; mean and deviation float32 `[2]`.
    """
    if not frames.numel():
        return frames, torch.tensor([0.0, 1.0])
    deviation, mean = torch.std_mean(frames, correction=0)
    deviation = deviation.clamp(min=_SILENT)
    return (frames - mean) / deviation, torch.stack([mean, deviation])


def restored(frames: Tensor, facts: Mapping[str, Tensor]) -> Tensor:
    """The frames with what was taken away to normalise them, as the facts of a sound's tokens tell it.

    Shapes:
        frames `[frames, bands]`, as returned.
    """
    if "scale" in facts:
        mean, deviation = facts["scale"].tolist()
        frames = frames * deviation + mean
    return frames + facts["bands"] if "bands" in facts else frames
