"""Attention that takes one map of weights from another, so that what both see in everything cancels."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.attention.multihead import Context, SelfAttention
from omniformer.core.ranges import Positive
from omniformer.core.recurrence import wide


class DifferentialAttention(SelfAttention):
    """Differential attention ([Ye et al. 2024](https://arxiv.org/abs/2410.05258), 2.1): the heads of the second half
    lend their weights, times a learned number, to be taken from those of the first half; each such pair weighs the same
    values, of twice the features, and what it collects is normalised.

    The number is `exp(a b) - exp(c d) + s` for four learned vectors of the layer and `s = 0.8 - 0.6 exp(-0.3 layer)`.

    Args:
        eps: of the norm of each pair; 1e-5 as published.
        **heads: those of `SelfAttention`; `n_heads` counts maps of weights, twice the heads of the paper.

    Raises:
        ValueError: `n_heads` or `n_kv_heads` is odd.

    Example:
        >>> from omniformer.core.layout import Layout
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=16, n_layers=1, n_heads=4, attention=DifferentialAttention)
        >>> core(torch.randn(3, 16), Layout.from_lengths(3)).shape
        torch.Size([3, 16])
    """

    def __init__(self, *, eps: Positive = 1e-5, **heads: Any) -> None:
        super().__init__(**heads)
        checks.positive(eps=eps)
        if self.n_heads % 2 or self.n_kv_heads % 2:
            raise ValueError(
                f"n_heads={self.n_heads} and n_kv_heads={self.n_kv_heads} must be even: every head lends to another"
            )
        self.eps = eps
        self.vectors = nn.Parameter(torch.empty(4, self.head_dim))  # a, b, c and d

    def collect(self, x: Tensor, context: Context) -> Tensor:
        """What the pairs of heads of each token collect, `[tokens, heads / 2, 2 head_dim]`."""
        q, k, v = self.project(x, context)
        if context.cache is not None:
            k, v = context.cache.append(k, v)
        values = torch.cat(v.chunk(2, dim=-2), dim=-1)  # those of a head of the first half, then of its partner
        both = self.attend(q, k, torch.cat([values, values], dim=-2), context.plan, context.bias)
        kept, taken = both.chunk(2, dim=1)
        start = 0.8 - 0.6 * math.exp(-0.3 * context.layer)
        a, b, c, d = wide(self.vectors)
        share = (a @ b).exp() - (c @ d).exp() + start
        found = kept - share.to(taken.dtype) * taken
        return F.rms_norm(found, found.shape[-1:], eps=self.eps) * (1 - start)

    def draw_weights(self, std: float, output_std: float) -> None:
        super().draw_weights(std, output_std)
        nn.init.normal_(self.vectors, std=0.1)  # as published
