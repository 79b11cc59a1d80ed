"""Attention whose heads each token opens and shuts."""

from typing import Any

from torch import Tensor

from omniformer.core.attention.multihead import Context, SelfAttention
from omniformer.core.projections import Projection, stack


class GatedAttention(SelfAttention):
    """Self-attention where every feature that a head collects is multiplied by a sigmoid of the token's own, so that a
    head may say nothing ([Qiu et al. 2025](https://arxiv.org/abs/2505.06708), 2.2, G1).

    Args:
        **heads: those of `MultiHead`, all of them.

    Example:
        >>> import torch
        >>> from omniformer.core.layout import Layout
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=8, n_layers=1, n_heads=2, attention=GatedAttention)
        >>> core(torch.randn(3, 8), Layout.from_lengths(3)).shape
        torch.Size([3, 8])
    """

    def __init__(self, **heads: Any) -> None:
        super().__init__(**heads)
        self.gate = self.map_in(self.n_heads)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.join(self.collect(x, context) * self.apart(self.gate(x)).sigmoid())

    @property
    def projections(self) -> dict[str, Projection]:
        return super().projections | stack("gate", gate=self.gate.out_features)
