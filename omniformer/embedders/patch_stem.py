"""Convolutions within each patch of a picture, in the place of one linear map."""

from collections.abc import Callable

from einops import rearrange
from omniformer_tokenizers import Packed
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.dropout import Dropout
from omniformer.core.init import linear_
from omniformer.core.ranges import BelowOne, Count, Natural
from omniformer.embedders.reads import Reads


class PatchStem(nn.Module):
    """Two convolutions of width 3, each behind a norm of its channels, a GELU and a maximum of 2 x 2 pixels, within
    each patch, and one linear map of what is left: a stem of early convolutions
    ([Xiao et al. 2021](https://arxiv.org/abs/2106.14881)), with which few pictures are enough
    ([Hassani et al. 2021](https://arxiv.org/abs/2104.05704), CCT).

    Patches that overlap by half or more (`stride` of `PatchTokenizer`) see the edges of their neighbours, so that
    little is lost by convolving each for itself. No picture sees another one, as it would through a norm of a batch.

    Args:
        d_model: width of the core.
        features: numbers in one patch, `channels * side * side`.
        channels: of a pixel, as the tokenizer says.
        width: channels of the first convolution, half of those of the second; 32 as in small convolutional networks.
        axes: coordinates of a token, for `position`.
        position: makes positions to add, called with `d_model` and `n_axes`; none by default.
        dropout: share of features set to zero in training.

    Raises:
        ValueError: `features` are no square patch of `channels`, or its side is below 4, of which nothing were left.

    Shapes:
        values `[tokens, features]` → `[tokens, d_model]`.

    Example:
        >>> import torch
        >>> from omniformer_tokenizers import PatchTokenizer, pack
        >>> tokenizer = PatchTokenizer(patch_size=8, stride=4, channels=1)
        >>> PatchStem(d_model=16, **tokenizer.facts)(pack([tokenizer(torch.zeros(1, 28, 28))])).shape
        torch.Size([36, 16])
    """

    def __init__(
        self,
        *,
        d_model: Count,
        features: Count,
        channels: Count,
        width: Count = 32,
        axes: Natural = 2,
        position: Callable[..., nn.Module] | None = None,
        dropout: BelowOne = 0.0,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, features=features, channels=channels, width=width)
        checks.not_negative(axes=axes)
        checks.below_one(dropout=dropout)
        side = round((features / channels) ** 0.5)
        if channels * side * side != features or side < 4:
            raise ValueError(
                f"features={features} of channels={channels} are no square patch of at least 4 x 4 pixels; use "
                "tokenizer.patch_size=8 with tokenizer.stride=4, or embedder=vectors"
            )
        self.channels, self.side = channels, side
        steps = ((channels, width), (width, 2 * width))
        self.convs = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in steps)
        self.norms = nn.ModuleList(nn.GroupNorm(1, after) for _, after in steps)
        self.map = nn.Linear(2 * width * (side // 4) ** 2, d_model)
        self.position = None if position is None else position(d_model=d_model, n_axes=axes)
        self.dropout = Dropout(dropout)
        self.reset_parameters()

    def forward(self, packed: Packed) -> Tensor:
        """The vectors of all patches."""
        values = packed.values.to(self.map.weight.dtype)
        x = rearrange(values, "tokens (c h w) -> tokens c h w", c=self.channels, h=self.side)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.max_pool2d(F.gelu(norm(conv(x))), 2)
        x = self.map(x.flatten(1))
        if self.position is not None:
            x = x + self.position(packed.positions).to(x.dtype)
        return self.dropout(x)

    @property
    def reads(self) -> Reads:
        """Vectors."""
        return Reads(numbers=self.channels * self.side**2, position=self.position)

    def reset_parameters(self) -> None:
        """Draws convolutions and map anew, so that features of unit variance stay near it."""
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight)  # pyright: ignore[reportArgumentType]
            nn.init.zeros_(conv.bias)  # pyright: ignore[reportArgumentType]
        linear_(self.map, self.map.in_features**-0.5)
