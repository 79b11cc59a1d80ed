"""Additive attention: a small network scores each pair of query and key."""

from typing import Any

import torch
from torch import Tensor, nn

from omniformer.core.variants.padded import PaddedAttention


class AdditiveAttention(PaddedAttention):
    """Multi-head self-attention with the scores `w tanh(q + k)` ([Bahdanau et al. 2014](https://arxiv.org/abs/1409.0473),
    appendix A.1.2, with the two linear maps of query and key that every attention layer has).

    Time and memory are `head_dim` times those of the matrix of weights. The scale is 1: `w` learns it.

    Args:
        scale: factor of the scores; 1 by default.
        **heads: those of `MultiHead`, all of them.

    Example:
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=8, n_layers=1, n_heads=2, attention=AdditiveAttention)
    """

    def __init__(self, **heads: Any) -> None:
        super().__init__(**heads)
        self.weight = nn.Parameter(torch.empty(self.n_heads, self.head_dim))
        self._draw_weight()

    @property
    def default_scale(self) -> float:
        return 1.0

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        hidden = (q[..., :, None, :] + k[..., None, :, :]).tanh()
        return (hidden * self.weight.to(q.dtype)[:, None, None]).sum(-1) * self.scale

    def draw_weights(self, std: float, output_std: float) -> None:
        super().draw_weights(std, output_std)
        self._draw_weight()

    def _draw_weight(self) -> None:
        # Unit variance of the scores of unit-variance hidden features.
        nn.init.normal_(self.weight, std=self.head_dim**-0.5)
