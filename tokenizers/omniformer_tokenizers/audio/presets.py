"""The features of well-known speech and sound models, at any length."""

from copy import copy
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from omniformer_tokenizers._checks import at_least
from omniformer_tokenizers.audio.mel import FLOOR, kaldi_frames, mel_frames, stacked_mel_frames
from omniformer_tokenizers.audio.spectrogram import Normalize, SpectrogramTokenizer, mono, restored
from omniformer_tokenizers.ranges import Count, Positive
from omniformer_tokenizers.tokens import Tokens


class WhisperTokenizer(SpectrogramTokenizer):
    """The log-mel frames of Whisper (Radford et al. 2022): decadic, the loudest 8 decades, shifted and scaled.

    Equal to Hugging Face's `WhisperFeatureExtractor`, but any length is legal. Audio is 16 kHz.

    Args:
        n_mels: 80, or 128 for large-v3.
        frames_per_token: frames joined into one token.
        seconds: cuts or fills up with silence to this length first, as Whisper does to 30; None keeps the length.
        downmix: how several channels become one: their `mean`, the `first`, or an `error`.

    Raises:
        ValueError: a size is not positive.

    Example:
        >>> import torch
        >>> WhisperTokenizer(seconds=1.0)(torch.randn(5000)).values.shape
        torch.Size([100, 80])
    """

    def __init__(
        self,
        *,
        n_mels: Count = 80,
        frames_per_token: Count = 1,
        seconds: Positive | None = None,
        downmix: Literal["mean", "first", "error"] = "mean",
    ) -> None:
        super().__init__(n_mels=n_mels, frames_per_token=frames_per_token, normalize="none", downmix=downmix)
        if seconds is not None and seconds <= 0:
            raise ValueError(f"seconds={seconds} must be positive")
        self.seconds = seconds
        self._cuts = seconds is not None

    @property
    def uncut(self) -> "WhisperTokenizer":
        """The same tokens without an end: shorter sounds are filled up to `seconds`, longer ones kept whole, with
        frames of zeros behind them where the last token lacks some.

        Example:
            >>> import torch
            >>> tokenizer = WhisperTokenizer(seconds=1.0).uncut
            >>> len(tokenizer(torch.randn(5000))), len(tokenizer(torch.randn(48000)))
            (100, 300)
        """
        whole = copy(self)
        whole._cuts = False
        return whole

    @property
    def window(self) -> int | None:
        """The tokens of `seconds`; None for sounds of any length."""
        n = None if self.seconds is None else round(self.seconds * self.sample_rate) // self.hop_length
        return None if n is None else -(-n // self.frames_per_token)

    def __call__(self, raw: Any) -> Tokens:
        """The tokens of a sound; the fact `left_out` says how many seconds at its end were cut off, where it can be."""
        wave = mono(raw, sample_rate=self.sample_rate, downmix=self.downmix)
        tokens = super().__call__(wave)
        if self.seconds is None or not self._cuts:
            return tokens
        return _shortened(tokens, len(wave) / self.sample_rate - self.seconds)

    def frames(self, raw: Any) -> Tensor:
        """Whisper's frames of a sound.

        Shapes:
            float32 `[time // 160, n_mels]`.
        """
        wave = mono(raw, sample_rate=self.sample_rate, downmix=self.downmix)
        if self.seconds is not None:
            n = round(self.seconds * self.sample_rate)
            wave = functional.pad(wave[:n] if self._cuts else wave, (0, max(n - len(wave), 0)))
        energies = mel_frames(
            wave[None],
            sample_rate=self.sample_rate,
            n_mels=self.n_mels,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            scale="slaney",
        )[0, : len(wave) // self.hop_length]
        decades = energies.clamp(min=FLOOR).log10()
        frames = (torch.maximum(decades, decades.max() - 8) + 4) / 4 if len(decades) else decades
        return frames if self._cuts else functional.pad(frames, (0, 0, 0, -len(frames) % self.frames_per_token))

    def _stacked_frames(self, waves: Tensor) -> Tensor:
        if self.seconds is not None:
            n = round(self.seconds * self.sample_rate)
            torch._check(
                waves.shape[1] <= n,
                lambda: f"received sounds of {waves.shape[1]} samples, of which {n} are read; cut them",
            )
            silence = waves.new_zeros(waves.shape[0], n - waves.shape[1])
            waves = torch.cat([waves, silence], dim=1)
        energies = stacked_mel_frames(
            waves,
            sample_rate=self.sample_rate,
            n_mels=self.n_mels,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            scale="slaney",
        )[:, :-1]
        decades = energies.clamp(min=FLOOR).log10()
        return (torch.maximum(decades, decades.amax((1, 2), keepdim=True) - 8) + 4) / 4

    @property
    def stack_shape(self) -> tuple[int | None, ...] | None:
        """Samples of any number up to `seconds`; without these, only for single frames."""
        return (None,) if self._cuts or self.frames_per_token == 1 else None

    def decode(self, tokens: Any, *, iterations: int = 32) -> Tensor:
        """Not available: the decades that Whisper cuts off are lost."""
        raise TypeError("WhisperTokenizer has no inverse: its frames do not determine the sound")

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {name: getattr(self, name) for name in ("n_mels", "frames_per_token", "seconds", "downmix")}


class KaldiTokenizer(SpectrogramTokenizer):
    """The filter-bank frames of the Kaldi toolkit, as frames or as AST's patches; 25 ms windows every 10 ms.

    With the defaults and `n_frames=1024` equal to Hugging Face's `ASTFeatureExtractor`.

    Args:
        sample_rate: in Hz; other rates are resampled to it.
        n_mels: number of mel bands.
        window: Kaldi's own `povey`, or `hanning` as in AST.
        mean: subtracted from the logarithms; the default is AudioSet's.
        std: then divided by twice this number, as AST does; the default is AudioSet's.
        n_frames: cuts to so many frames or fills up with zeros, which are then normalised like the rest, as AST does
            to 1024; None keeps the length.
        frames_per_token: frames joined into one token.
        frame_stride: frames from one token to the next; AST overlaps: 10 of 16.
        bands_per_token: bands of one token; None takes all. Bands above the last whole token are left out, as AST does:
            the top 2 of its 128.
        band_stride: bands from one token to the next; AST 10 of 16.
        downmix: how several channels become one: their `mean`, the `first`, or an `error`.

    Raises:
        ValueError: as `SpectrogramTokenizer`, or `std` or `n_frames` is not positive.

    Example:
        >>> import torch
        >>> ast = KaldiTokenizer(frames_per_token=16, frame_stride=10, bands_per_token=16, band_stride=10)
        >>> ast(torch.randn(16000)).values.shape
        torch.Size([120, 256])
    """

    def __init__(
        self,
        *,
        sample_rate: Count = 16000,
        n_mels: Count = 128,
        window: Literal["povey", "hanning"] = "hanning",
        mean: float = -4.2677393,
        std: float = 4.5689974,
        n_frames: Count | None = None,
        frames_per_token: Count = 1,
        frame_stride: Count | None = None,
        bands_per_token: Count | None = None,
        band_stride: Count | None = None,
        downmix: Literal["mean", "first", "error"] = "mean",
    ) -> None:
        super().__init__(
            sample_rate=sample_rate,
            n_mels=n_mels,
            n_fft=int(sample_rate * 0.025),
            hop_length=int(sample_rate * 0.01),
            f_min=20.0,
            frames_per_token=frames_per_token,
            frame_stride=frame_stride,
            bands_per_token=bands_per_token,
            band_stride=band_stride,
            normalize="none",
            downmix=downmix,
        )
        if std <= 0:
            raise ValueError(f"std={std} must be positive")
        self.window: Literal["povey", "hanning"] = window
        self.mean = mean
        at_least(1, n_frames=n_frames)
        self.std = std
        self.n_frames = n_frames

    def __call__(self, raw: Any) -> Tokens:
        """The tokens of a sound; the fact `left_out` says how many seconds at its end were cut off, where it can be."""
        wave = mono(raw, sample_rate=self.sample_rate, downmix=self.downmix)
        tokens = super().__call__(wave)
        if self.n_frames is None:
            return tokens
        read = (self.n_frames - 1) * self.hop_length + self.n_fft
        return _shortened(tokens, (len(wave) - read) / self.sample_rate)

    @property
    def stack_shape(self) -> None:
        """None: how many frames are filled up depends on how long a sound is."""
        return None

    def frames(self, raw: Any) -> Tensor:
        """Kaldi's frames of a sound, none at all where it is shorter than 25 ms.

        Shapes:
            float32 `[frames, n_mels]`.
        """
        wave = mono(raw, sample_rate=self.sample_rate, downmix=self.downmix)
        frames = kaldi_frames(wave, sample_rate=self.sample_rate, n_mels=self.n_mels, window=self.window)
        if self.n_frames is not None and len(frames):
            frames = functional.pad(frames[: self.n_frames], (0, 0, 0, max(self.n_frames - len(frames), 0)))
        return (frames - self.mean) / (2 * self.std)

    def decode(self, tokens: Any, *, iterations: int = 32) -> Tensor:
        """Not available: each frame has lost its mean and its phase."""
        raise TypeError("KaldiTokenizer has no inverse: its frames do not determine the sound")

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {name: getattr(self, name) for name in ("window", "mean", "std", "n_frames")}
        fixed = ("n_fft", "hop_length", "f_min", "f_max", "stretch_to", "top_db", "normalize")
        return own | {name: value for name, value in super().config().items() if name not in fixed}

    def _check_bands(self, n_mels: int, bands: int, stride: int | None) -> None:
        """Leaves out what AST leaves out."""


def _shortened(tokens: Tokens, seconds: float) -> Tokens:
    """The tokens of a sound that was so many seconds too long."""
    return replace(tokens, facts={**tokens.facts, "left_out": torch.tensor(max(0.0, seconds))})


class MultiScaleTokenizer(SpectrogramTokenizer):
    """Log-mel frames at several time scales at once: each scale averages so many frames into one token.

    All tokens are `n_mels` wide. The fine scale comes first; the feature `scale` tells a token's scale, and its
    position is the middle of its time, in frames, so that scales can be related.

    Args:
        scales: frames of a token at each scale, for example 1 (10 ms), 4 and 16.
        sample_rate: in Hz; other rates are resampled to it.
        n_mels: number of mel bands.
        n_fft: window length in samples.
        hop_length: samples from one frame to the next.
        normalize: `sample`, `bands` or `none`, as in `SpectrogramTokenizer`.
        downmix: how several channels become one: their `mean`, the `first`, or an `error`.

    Raises:
        ValueError: no scale, or one that is not positive.

    Example:
        >>> import torch
        >>> tokens = MultiScaleTokenizer(scales=(1, 4))(torch.randn(1600))
        >>> tokens.features["scale"].tolist()
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]
    """

    def __init__(
        self,
        *,
        scales: tuple[int, ...] = (1, 4, 16),
        sample_rate: Count = 16000,
        n_mels: Count = 80,
        n_fft: Count = 400,
        hop_length: Count = 160,
        normalize: Normalize = "sample",
        downmix: Literal["mean", "first", "error"] = "mean",
    ) -> None:
        super().__init__(
            sample_rate=sample_rate,
            n_mels=n_mels,
            n_fft=n_fft,
            hop_length=hop_length,
            normalize=normalize,
            downmix=downmix,
        )
        if not scales or min(scales) < 1:
            raise ValueError(f"scales={tuple(scales)}: give at least one, each 1 frame or more")
        self.scales = tuple(scales)

    @property
    def facts(self) -> dict[str, Any]:
        """`features` of a token, the number of position `axes`, and of `scales`."""
        return {"features": self.n_mels, "axes": 1, "scales": len(self.scales)}

    @property
    def stack_shape(self) -> None:
        """None: how many tokens there are of a scale depends on how long a sound is."""
        return None

    def from_frames(self, frames: Tensor) -> Any:
        """The tokens of log-mel frames, all scales; the last token of a scale averages what is left."""
        base = super().from_frames(frames)
        values, middles, kinds = [], [], []
        for kind, size in enumerate(self.scales):
            chunks = base.values.split(size) if len(base) else ()
            values += [chunk.mean(0, keepdim=True) for chunk in chunks]
            middles += [size * i + (len(chunk) - 1) / 2 for i, chunk in enumerate(chunks)]
            kinds += [kind] * len(chunks)
        return type(base)(
            values=torch.cat(values) if values else base.values,
            positions=torch.tensor(middles, dtype=torch.float32).reshape(-1, 1),
            features={"scale": torch.tensor(kinds, dtype=torch.int64)},
            facts=base.facts,
            modality=self.modality,
        )

    def to_frames(self, tokens: Any) -> Tensor:
        """The finest scale's frames; exact where it is 1."""
        if self.scales[0] != 1:
            raise TypeError("MultiScaleTokenizer has no inverse unless its first scale is 1")
        finest = tokens.features["scale"] == 0
        return restored(tokens.values[finest], tokens.facts)

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("sample_rate", "n_mels", "n_fft", "hop_length", "normalize", "downmix")
        return {name: getattr(self, name) for name in names} | {"scales": list(self.scales)}
