"""Waves of sound through a stack of convolutions, to one vector for every 20 ms or so."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from omniformer_tokenizers import Packed
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from omniformer.core import checks
from omniformer.core.dropout import Dropout
from omniformer.core.init import linear_
from omniformer.core.norm import LayerNorm
from omniformer.core.ranges import BelowOne, Count
from omniformer.embedders.conv_positions import ConvPositions

Norms = Literal["first", "all"]


class WaveStem(nn.Module):
    """Convolutions over raw sound, a map to the width of the core, and positions that convolutions compute: what stands
    before the transformer of wav2vec 2.0 ([Baevski et al. 2020](https://arxiv.org/abs/2006.11477), 2).

    A token is a step of the convolutions together, and holds the samples from its first on (`Wav2Vec2Tokenizer`). No
    sound hears its neighbour in the batch: norms and positions end where a sound ends.

    Args:
        d_model: width of the core.
        features: numbers in one token; one less than window and step of the convolutions together.
        channels: of each convolution.
        kernels: width of each convolution.
        strides: step of each convolution.
        norms: "first": each channel of the first convolution over the time of a sound, as in wav2vec 2.0 base; "all":
            each frame over its channels, behind every convolution, as in wav2vec 2.0 large.
        bias: whether the convolutions have offsets.
        map_norm: makes a norm before the map, called with `d_model`, the last of `channels`; None for none.
        map_dropout: share of features set to zero behind the map in training.
        hidden: makes what stands for the maps of hidden tokens, called with `d_model`, such as `MaskToken`; without it
            all tokens are seen.
        position: makes positions of vectors, called with `d_model`; None for none.
        norm: makes a norm behind the positions, called with `d_model`; none by default.
        dropout: share of features set to zero at the end in training.

    Shapes:
        values `[tokens, features]`, fact `samples` int64 `[sounds]` → `[tokens, d_model]`.

    Raises:
        ValueError: the convolutions have not as many channels, kernels and strides, or hear another number of samples
            than a token has; when called, tokens come without the fact `samples`, or do not fit it.

    Example:
        >>> from omniformer_tokenizers import Wav2Vec2Tokenizer, pack
        >>> packed = pack([Wav2Vec2Tokenizer(window=8, stride=4)(torch.randn(30))])
        >>> WaveStem(d_model=16, features=11, channels=[4, 4], kernels=[4, 3], strides=[2, 2])(packed).shape
        torch.Size([6, 16])
    """

    def __init__(
        self,
        *,
        d_model: Count,
        features: Count = 719,
        channels: Sequence[Count] = (512,) * 7,
        kernels: Sequence[Count] = (10, 3, 3, 3, 3, 2, 2),
        strides: Sequence[Count] = (5, 2, 2, 2, 2, 2, 2),
        norms: Norms = "first",
        bias: bool = False,
        map_norm: Callable[..., nn.Module] | None = LayerNorm,
        map_dropout: BelowOne = 0.0,
        hidden: Callable[..., nn.Module] | None = None,
        position: Callable[..., nn.Module] | None = ConvPositions,
        norm: Callable[..., nn.Module] | None = None,
        dropout: BelowOne = 0.0,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, features=features)
        checks.known(("first", "all"), norms=norms)
        checks.below_one(map_dropout=map_dropout, dropout=dropout)
        self.window, self.stride = heard(channels, kernels, strides)
        if features != self.window + self.stride - 1:
            raise ValueError(
                f"features={features}; kernels={list(kernels)} and strides={list(strides)} hear {self.window} samples "
                f"every {self.stride}, so that a token has {self.window + self.stride - 1}: tokenize with "
                f"window={self.window}, stride={self.stride}"
            )
        wide = zip([1, *channels[:-1]], channels, kernels, strides, strict=True)
        self.steps = nn.ModuleList(
            _Step(*each, bias=bias, norm=_FrameNorm if norms == "all" else None if i else _ChannelNorm)
            for i, each in enumerate(wide)
        )
        self.map_norm = nn.Identity() if map_norm is None else map_norm(d_model=channels[-1])
        self.map = nn.Linear(channels[-1], d_model)
        self.map_dropout, self.dropout = Dropout(map_dropout), Dropout(dropout)
        self.hidden = None if hidden is None else hidden(d_model=d_model)
        self.position = None if position is None else position(d_model=d_model)
        self.norm = nn.Identity() if norm is None else norm(d_model=d_model)
        self.reset_parameters()

    def forward(self, packed: Packed) -> Tensor:
        """The vectors of all tokens."""
        waves, n_samples = self._waves(packed)
        x, lengths = waves[:, None], n_samples
        for step in self.steps:
            x, lengths = step(x, lengths)
        frames = torch.arange(x.shape[2], device=x.device) < packed.lengths.to(x.device)[:, None]
        x = self.map_dropout(self.map(self.map_norm(x.transpose(1, 2)[frames])))
        if self.hidden is not None:
            x = self.hidden(x, packed.features.get("masked"))
        if self.position is not None:
            x = x + self.position(x, packed.lengths)
        return self.dropout(self.norm(x))

    def _waves(self, packed: Packed) -> tuple[Tensor, Tensor]:
        """The sounds, each followed by silence up to the longest, and how many samples each has.

        Shapes:
            `[sounds, time]`, `[sounds]`.
        """
        if "samples" not in packed.facts:
            raise ValueError("tokens lack the fact 'samples', which says where a sound ends; use Wav2Vec2Tokenizer")
        values, n_samples = packed.values.to(self.map.weight.dtype), packed.facts["samples"]
        lengths, counts = packed.lengths.tolist(), n_samples.tolist()
        expected = [(n - self.window) // self.stride + 1 if n >= self.window else 0 for n in counts]
        if wrong := [i for i, n in enumerate(expected) if n != lengths[i]]:
            i = wrong[0]
            raise ValueError(
                f"sound {i} has {lengths[i]} tokens and {counts[i]} samples, of which this stem hears {expected[i]} "
                f"frames; use Wav2Vec2Tokenizer(window={self.window}, stride={self.stride}), and hide tokens instead "
                "of leaving them out"
            )
        sounds = [
            torch.cat([rows[:-1, : self.stride].flatten(), rows[-1:].flatten()])[:n]
            for rows, n in zip(values.split(lengths), counts, strict=True)
        ]
        # No frame fits into an empty batch, which the convolutions refuse: silence, of which nothing is read.
        sounds.append(values.new_zeros(self.window))
        return pad_sequence(sounds, batch_first=True)[:-1], n_samples

    def reset_parameters(self) -> None:
        """Draws convolutions and map anew: these keep the size of what they read (He et al. 2015)."""
        for step in self.steps:
            step.reset_parameters()  # pyright: ignore[reportCallIssue]
        linear_(self.map, self.map.in_features**-0.5)


class _Step(nn.Module):
    """One convolution, its norm if any, a GELU."""

    def __init__(
        self, n_in: int, n_out: int, kernel: int, stride: int, *, bias: bool, norm: Callable[[int], nn.Module] | None
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(n_in, n_out, kernel, stride, bias=bias)
        self.norm = None if norm is None else norm(n_out)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What it makes of `[sounds, channels, time]`, and how much of the time of each is sound."""
        x = self.conv(x)
        lengths = (lengths - self.conv.kernel_size[0]).div(self.conv.stride[0], rounding_mode="floor") + 1
        x = x if self.norm is None else self.norm(x, lengths.clamp(min=0))
        return F.gelu(x), lengths

    def reset_parameters(self) -> None:
        nn.init.kaiming_normal_(self.conv.weight)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)


class _ChannelNorm(nn.Module):
    """Each channel of a sound over its time, what lies behind its end left out
    ([Ulyanov et al. 2016](https://arxiv.org/abs/1607.08022)).
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(n)), nn.Parameter(torch.zeros(n))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        sounds = (torch.arange(x.shape[2], device=x.device) < lengths[:, None]).to(x.dtype)[:, None]
        n = lengths.clamp(min=1).to(x.dtype)[:, None, None]
        apart = x - (x * sounds).sum(2, keepdim=True) / n
        variance = (apart.square() * sounds).sum(2, keepdim=True) / n
        return apart * (variance + 1e-5).rsqrt() * self.weight[:, None] + self.bias[:, None]


class _FrameNorm(LayerNorm):
    """Each frame over its channels."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


def heard(channels: Sequence[int], kernels: Sequence[int], strides: Sequence[int]) -> tuple[int, int]:
    """How many samples of sound a frame hears, and how many lie between two frames.

    Raises:
        ValueError: there is no convolution, or one lacks a number, or a number is below 1.

    Example:
        >>> heard([512] * 7, [10, 3, 3, 3, 3, 2, 2], [5, 2, 2, 2, 2, 2, 2])
        (400, 320)
    """
    if not len(channels) == len(kernels) == len(strides) > 0:
        raise ValueError(
            f"{len(channels)} channels, {len(kernels)} kernels and {len(strides)} strides; give one of each for every "
            "convolution, and at least one"
        )
    checks.counts(channels=min(channels), kernels=min(kernels), strides=min(strides))
    window = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        window = (window - 1) * stride + kernel
    return window, math.prod(strides)
