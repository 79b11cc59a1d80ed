"""Frames of sound through two convolutions, which halve their number."""

from collections.abc import Callable

import torch
from einops import rearrange
from omniformer_tokenizers import Packed
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.dropout import Dropout
from omniformer.core.ranges import BelowOne, Count, Natural
from omniformer.embedders.reads import Reads

VALID = "valid"
"""The fact that says which places of a padded batch, whose rows lie end to end, hold a token: bool `[samples, seq]`."""


class ConvStem(nn.Module):
    """Two convolutions of width 3 over the frames of each sound, the second in steps of 2, each behind a GELU: the stem
    of Whisper's encoder ([Radford et al. 2022](https://arxiv.org/abs/2212.04356), 2.2).

    A token is two frames and becomes one vector (`WhisperTokenizer(frames_per_token=2)`). Beyond both ends of a sound
    there is silence of zeros, at both convolutions, so that no sound hears its neighbour in the batch. Tokens may come
    as the rows of a padded batch too, with a fact `VALID`.

    Args:
        d_model: width of the core.
        features: numbers in one token: twice the bands of a frame.
        axes: coordinates of a token, for `position`.
        position: makes positions to add, called with `d_model` and `n_axes`; none by default.
        dropout: share of features set to zero in training.

    Shapes:
        values `[tokens, features]`, the earlier frame first → `[tokens, d_model]`.

    Raises:
        ValueError: `features` is odd, so that a token is no two frames.

    Example:
        >>> from omniformer_tokenizers import WhisperTokenizer, pack
        >>> packed = pack([WhisperTokenizer(frames_per_token=2)(torch.randn(1600))])
        >>> ConvStem(d_model=8, features=160)(packed).shape
        torch.Size([5, 8])
    """

    def __init__(
        self,
        *,
        d_model: Count,
        features: Count,
        axes: Natural = 1,
        position: Callable[..., nn.Module] | None = None,
        dropout: BelowOne = 0.0,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, features=features)
        checks.not_negative(axes=axes)
        if features % 2:
            raise ValueError(f"features={features} must be even: a token is two frames; use frames_per_token=2")
        self.first = nn.Conv1d(features // 2, d_model, kernel_size=3, padding=1)
        self.second = nn.Conv1d(d_model, d_model, kernel_size=3, stride=2, padding=1)
        self.position = None if position is None else position(d_model=d_model, n_axes=axes)
        checks.below_one(dropout=dropout)
        self.dropout = Dropout(dropout)
        self.reset_parameters()

    def forward(self, packed: Packed) -> Tensor:
        """The vectors of all tokens."""
        values, valid = packed.values.to(self.first.weight.dtype), packed.facts.get(VALID)
        x = self._end_to_end(values, packed.lengths) if valid is None else self._rows(values, valid)
        if self.position is not None:
            x = x + self.position(packed.positions).to(x.dtype)
        return self.dropout(x)

    def _end_to_end(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Packed sounds as one long sound in which every sample is followed by two silent frames: as many as a token,
        so that the steps of the second convolution stay in time with the samples.
        """
        sample = torch.arange(len(lengths)).repeat_interleave(lengths).to(values.device)
        place = torch.arange(len(values), device=values.device) + sample
        n_places = len(values) + max(len(lengths), 1)
        frames = _apart(values, place, n_places).view(2 * n_places, -1).T[None]
        between = torch.ones(n_places, dtype=torch.bool, device=values.device).index_fill(0, place, False)
        return self._convolved(frames, between.repeat_interleave(2))[0].T[place]

    def _rows(self, values: Tensor, valid: Tensor) -> Tensor:
        """Each row of a padded batch as a sound by itself, silent where there is padding."""
        values = values.unflatten(0, valid.shape).masked_fill(~valid[..., None], 0)
        frames = rearrange(values, "samples seq (frames bands) -> samples bands (seq frames)", frames=2)
        x = self._convolved(frames, ~valid.repeat_interleave(2, dim=1)[:, None])
        return rearrange(x, "samples d_model seq -> (samples seq) d_model")

    def _convolved(self, frames: Tensor, silent: Tensor) -> Tensor:
        """The two convolutions.

        Shapes:
            frames `[sounds, bands, frames]`, silent bool `[frames]` or `[sounds, 1, frames]` → `[sounds, d_model,
            frames / 2]`.
        """
        # What the first convolution says of silence is no silence.
        heard = F.gelu(self.first(frames)).masked_fill(silent, 0)
        return F.gelu(self.second(heard))

    @property
    def reads(self) -> Reads:
        """Vectors of two frames."""
        return Reads(numbers=2 * self.first.in_channels, position=self.position)

    def reset_parameters(self) -> None:
        """Draws the convolutions anew, so that features of unit variance stay near it."""
        for conv in (self.first, self.second):
            nn.init.normal_(conv.weight, std=(3 * conv.in_channels) ** -0.5)
            nn.init.zeros_(conv.bias)  # pyright: ignore[reportArgumentType]


def _apart(values: Tensor, place: Tensor, n_places: int) -> Tensor:
    """The rows at their places, zeros elsewhere."""
    return values.new_zeros(n_places, values.shape[1]).index_copy(0, place, values)
