"""Tokens that are vectors already: patches of images, frames and patches of spectrograms, pieces of a waveform."""

from collections.abc import Callable

from omniformer_tokenizers import Packed
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.dropout import Dropout
from omniformer.core.init import linear_
from omniformer.core.ranges import BelowOne, Count, Natural
from omniformer.embedders.reads import Reads


class VectorEmbedder(nn.Module):
    """One linear map of each patch or frame, plus its position's vector where positions are added
    ([Dosovitskiy et al. 2020](https://arxiv.org/abs/2010.11929), equation 1).

    Args:
        d_model: width of the core.
        features: numbers in one patch or frame.
        axes: coordinates of a token, for `position`.
        position: makes positions to add, called with `d_model` and `n_axes`; none by default, since the default core
            rotates queries and keys instead.
        bias: whether the map has an offset; CLIP's has none.
        norm: makes a norm after the map, called with `d_model`; none by default.
        hidden: makes what stands for the maps of hidden tokens, called with `d_model`, such as `MaskToken`; without it
            all tokens are seen.
        dropout: share of features set to zero in training.

    Shapes:
        values `[tokens, features]` → `[tokens, d_model]`.

    Example:
        >>> import torch
        >>> from omniformer_tokenizers import PatchTokenizer, pack
        >>> packed = pack([PatchTokenizer(patch_size=4, channels=1)(torch.zeros(1, 8, 8))])
        >>> VectorEmbedder(d_model=8, features=16, axes=2)(packed).shape
        torch.Size([4, 8])
    """

    def __init__(
        self,
        *,
        d_model: Count,
        features: Count,
        axes: Natural = 1,
        position: Callable[..., nn.Module] | None = None,
        bias: bool = True,
        norm: Callable[..., nn.Module] | None = None,
        hidden: Callable[..., nn.Module] | None = None,
        dropout: BelowOne = 0.0,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, features=features)
        checks.not_negative(axes=axes)
        self.map = nn.Linear(features, d_model, bias=bias)
        self.norm = nn.Identity() if norm is None else norm(d_model=d_model)
        self.hidden = None if hidden is None else hidden(d_model=d_model)
        self.position = None if position is None else position(d_model=d_model, n_axes=axes)
        checks.below_one(dropout=dropout)
        self.dropout = Dropout(dropout)
        self.reset_parameters()

    def forward(self, packed: Packed) -> Tensor:
        """The vectors of all tokens."""
        x = self.norm(self.map(packed.values.to(self.map.weight.dtype)))
        if self.hidden is not None:
            x = self.hidden(x, packed.features.get("masked"))
        if self.position is not None:
            x = x + self.position(packed.positions).to(x.dtype)
        return self.dropout(x)

    @property
    def reads(self) -> Reads:
        """Vectors."""
        return Reads(numbers=self.map.in_features, position=self.position)

    def reset_parameters(self) -> None:
        """Draws the map anew, so that features of unit variance give vectors of unit variance."""
        linear_(self.map, self.map.in_features**-0.5)
