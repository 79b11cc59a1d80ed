"""Value residual: every layer attends to values mixed with those of the first layer."""

from typing import Any

import torch
from torch import Tensor, nn

from omniformer.core.attention.multihead import Context, SelfAttention


class ValueResidualAttention(SelfAttention):
    """Self-attention whose values are mixed with those of the first layer
    ([Zhou et al. 2024](https://arxiv.org/abs/2410.17897), ResFormer): `share * first + (1 - share) * own`, learned by
    layer.

    The learned share begins at one half, as in the paper.

    Args:
        **heads: those of `MultiHead`, all of them.

    Example:
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=8, n_layers=2, n_heads=2, attention=ValueResidualAttention)
    """

    def __init__(self, **heads: Any) -> None:
        super().__init__(**heads)
        self.share = nn.Parameter(torch.tensor(0.5))

    def project(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and mixed values; the first layer leaves its own to the others."""
        q, k, v = super().project(x, context)
        if context.layer == 0:
            context.report.first_values = v
        # The first layer mixes its values with themselves, so that every layer's share has a gradient.
        first = context.report.first_values
        assert first is not None
        return q, k, torch.lerp(v, first, self.share.to(v.dtype))

    def draw_weights(self, std: float, output_std: float) -> None:
        super().draw_weights(std, output_std)
        nn.init.constant_(self.share, 0.5)
