"""Sound as it is: frames of samples, or each sample as one of a few levels."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional

from omniformer_tokenizers._checks import at_least, one_of
from omniformer_tokenizers.audio.spectrogram import mono
from omniformer_tokenizers.ranges import Count
from omniformer_tokenizers.tokenizer import Tokenizer
from omniformer_tokenizers.tokens import Tokens


class WaveformTokenizer(Tokenizer):
    """Cuts a waveform into frames of samples, one token each.

    Args:
        sample_rate: the rate the tokenizer works at, in Hz; other rates are resampled to it.
        frame_length: samples of a frame; the last one is filled up with zeros, which `decode` takes away.
        stride: samples from one frame to the next; `frame_length` when left out. Smaller overlaps frames.
        downmix: how several channels become one: their `mean`, the `first`, or an `error`.

    Raises:
        ValueError: a size is not positive, or `stride` exceeds `frame_length`.

    Example:
        >>> import torch
        >>> wave = torch.randn(1000)
        >>> tokenizer = WaveformTokenizer(frame_length=400)
        >>> tokenizer(wave).values.shape, torch.equal(tokenizer.decode(tokenizer(wave)), wave)
        (torch.Size([3, 400]), True)
    """

    modality = "audio"

    def __init__(
        self,
        *,
        sample_rate: Count = 16000,
        frame_length: Count = 400,
        stride: Count | None = None,
        downmix: Literal["mean", "first", "error"] = "mean",
    ) -> None:
        at_least(1, sample_rate=sample_rate, frame_length=frame_length, stride=stride)
        one_of(("mean", "first", "error"), downmix=downmix)
        if stride is not None and stride > frame_length:
            raise ValueError(f"stride={stride} exceeds frame_length={frame_length}: samples between would be lost")
        self.sample_rate = sample_rate
        self.frame_length = frame_length
        self.stride = stride
        self.downmix = downmix

    @property
    def facts(self) -> Mapping[str, Any]:
        """`features`: samples of a frame; and the number of position `axes`."""
        return {"features": self.frame_length, "axes": 1}

    def __call__(self, raw: Any) -> Tokens:
        """The frames of a sound: a waveform at `sample_rate`, a pair (waveform, its rate), a path, or a file's bytes.

        Shapes:
            values float32 `[tokens, frame_length]`, positions `[tokens, 1]` in tokens, fact `samples` int64 `[]`.
        """
        wave = mono(raw, sample_rate=self.sample_rate, downmix=self.downmix)
        step, length = self.stride or self.frame_length, self.frame_length
        n = max(0, -(-(len(wave) - length) // step)) + 1 if len(wave) else 0
        padded = functional.pad(wave, (0, max((n - 1) * step + length - len(wave), 0)))
        values = padded.unfold(0, length, step)[:n].contiguous() if n else wave.new_zeros(0, length)
        positions = torch.arange(float(n))[:, None]
        facts = {"samples": torch.tensor(len(wave))}
        return Tokens(values=values, positions=positions, facts=facts, modality=self.modality)

    def decode(self, tokens: Tokens) -> Tensor:
        """The waveform back, exactly; overlapping frames are averaged.

        Shapes:
            float32 `[time]` at `sample_rate`.
        """
        step, length = self.stride or self.frame_length, self.frame_length
        n = int(tokens.facts["samples"])
        starts = (tokens.positions[:, :1] * step).long()
        places = (starts + torch.arange(length)).flatten()
        size = max(n, int(places.max()) + 1 if len(places) else 0)
        total = torch.zeros(size).index_add_(0, places, tokens.values.flatten())
        count = torch.zeros(size).index_add_(0, places, torch.ones(len(places)))
        return (total / count.clamp(min=1))[:n]

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {name: getattr(self, name) for name in ("sample_rate", "frame_length", "stride", "downmix")}


class Wav2Vec2Tokenizer(WaveformTokenizer):
    """The waveform as wav2vec 2.0 (Baevski et al. 2020) and its relatives hear it: one token for each step of their
    convolutions, which holds the sound from its first sample on as far as any window that begins before the next token.

    Equal to Hugging Face's `Wav2Vec2FeatureExtractor` for a sound by itself. The last token holds what is left; the
    fact `samples` says where the sound ends.

    Args:
        sample_rate: the rate the tokenizer works at, in Hz; other rates are resampled to it.
        window: samples that the convolutions hear at once.
        stride: samples from one token to the next.
        normalize: whether a sound is shifted and scaled to mean 0 and variance 1 as a whole.
        downmix: how several channels become one: their `mean`, the `first`, or an `error`.

    Raises:
        ValueError: a size is not positive; when called, a sound is shorter than a window.

    Example:
        >>> import torch
        >>> Wav2Vec2Tokenizer()(torch.randn(16000)).values.shape
        torch.Size([49, 719])
    """

    def __init__(
        self,
        *,
        sample_rate: Count = 16000,
        window: Count = 400,
        stride: Count = 320,
        normalize: bool = True,
        downmix: Literal["mean", "first", "error"] = "mean",
    ) -> None:
        at_least(1, window=window, stride=stride)
        super().__init__(sample_rate=sample_rate, frame_length=window + stride - 1, stride=stride, downmix=downmix)
        self.window, self.normalize = window, normalize

    def __call__(self, raw: Any) -> Tokens:
        """The windows of a sound: a waveform at `sample_rate`, a pair (waveform, its rate), a path, or a file's bytes.

        Shapes:
            values float32 `[tokens, window + stride - 1]`, positions `[tokens, 1]` in tokens, fact `samples` int64
            `[]`.
        """
        wave = mono(raw, sample_rate=self.sample_rate, downmix=self.downmix)
        if 0 < len(wave) < self.window:
            raise ValueError(
                f"received a sound of {len(wave)} samples at {self.sample_rate} Hz; give {self.window} or more, which "
                "one token hears"
            )
        if self.normalize and len(wave):
            wave = (wave - wave.mean()) / (wave.var(correction=0) + 1e-7).sqrt()
        return super().__call__(wave)

    def decode(self, tokens: Tokens) -> Tensor:
        """The waveform back, exactly, where it was not normalised.

        Raises:
            TypeError: it was: its loudness is lost.
        """
        if self.normalize:
            raise TypeError("Wav2Vec2Tokenizer has no inverse with normalize=True: the loudness of a sound is lost")
        return super().decode(tokens)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {name: getattr(self, name) for name in ("sample_rate", "window", "stride", "normalize", "downmix")}


class MuLawTokenizer(Tokenizer):
    """One id for each sample, on the mu-law scale of telephony (ITU-T G.711), as WaveNet reads sound.

    Args:
        sample_rate: the rate the tokenizer works at, in Hz; other rates are resampled to it.
        levels: distinct ids. A sample comes back to within about 1 / `levels` of full scale, quiet ones much closer.
        downmix: how several channels become one: their `mean`, the `first`, or an `error`.

    Samples beyond -1..1 are clipped.

    Raises:
        ValueError: a size is too small.

    Example:
        >>> import torch
        >>> MuLawTokenizer()(torch.tensor([-1.0, 0.0, 1.0])).values
        tensor([  0, 128, 255])
    """

    modality = "samples"

    def __init__(
        self,
        *,
        sample_rate: Count = 16000,
        levels: Annotated[int, Ge(2)] = 256,
        downmix: Literal["mean", "first", "error"] = "mean",
    ) -> None:
        at_least(1, sample_rate=sample_rate)
        at_least(2, levels=levels)
        one_of(("mean", "first", "error"), downmix=downmix)
        self.sample_rate = sample_rate
        self.levels = levels
        self.downmix = downmix

    @property
    def facts(self) -> Mapping[str, Any]:
        """`vocab_size`, the levels and `start`, and the number of position `axes`."""
        return {"vocab_size": self.levels + 1, "axes": 1}

    @property
    def start(self) -> int:
        """The id from which a model begins to write, the one behind the levels."""
        return self.levels

    def __call__(self, raw: Any) -> Tokens:
        """The ids of a sound: a waveform at `sample_rate`, a pair (waveform, its rate), a path, or a file's bytes.

        Shapes:
            values int64 `[time]`, positions `[time, 1]` in samples.
        """
        wave = mono(raw, sample_rate=self.sample_rate, downmix=self.downmix).clamp(-1, 1)
        mu = torch.tensor(self.levels - 1.0)
        bent = wave.sign() * torch.log1p(mu * wave.abs()) / torch.log1p(mu)
        ids = ((bent + 1) / 2 * mu + 0.5).floor().long()
        return Tokens(values=ids, positions=torch.arange(float(len(ids)))[:, None], modality=self.modality)

    def decode(self, tokens: Tokens) -> Tensor:
        """The waveform, to within the width of a level.

        Shapes:
            float32 `[time]` at `sample_rate`.
        """
        mu = torch.tensor(self.levels - 1.0)
        bent = tokens.values / mu * 2 - 1
        return bent.sign() * torch.expm1(bent.abs() * torch.log1p(mu)) / mu

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {name: getattr(self, name) for name in ("sample_rate", "levels", "downmix")}
