"""From the tokens of a sample to one vector: attention of a learned query with several heads."""

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.attention.multihead import head_dim_of
from omniformer.core.feedforward import FeedForward
from omniformer.core.init import linear_
from omniformer.core.layout import Layout
from omniformer.core.norm import LayerNorm
from omniformer.core.ranges import Count
from omniformer.heads.pooling import softmax_within


class MultiheadAttentionPool(nn.Module):
    """What a learned query collects by multi-head attention, then `y + feedforward(norm(y))`
    ([Lee et al. 2018](https://arxiv.org/abs/1810.00825), 3.2; [Zhai et al. 2021](https://arxiv.org/abs/2106.04560), MAP
    head, which SigLIP has); zero for a sample without tokens.

    Args:
        d_model: width of the core.
        n_heads: heads of the query; 1 by default, which divides every width.
        feedforward: makes the feed-forward layer, called with `d_model`.
        norm: makes the norm before it, called with `d_model`.

    Shapes:
        x `[tokens, d_model]` → `[samples, d_model]`.

    Raises:
        ValueError: `n_heads` does not divide `d_model`.

    Example:
        >>> MultiheadAttentionPool(d_model=8, n_heads=2)(torch.zeros(5, 8), Layout.from_lengths(2, 3)).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        *,
        d_model: Count,
        n_heads: Count = 1,
        feedforward: Callable[..., nn.Module] = FeedForward,
        norm: Callable[..., nn.Module] = LayerNorm,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, n_heads=n_heads)
        self.head_dim = head_dim_of(d_model, n_heads)
        self.query = nn.Parameter(torch.empty(d_model))
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)
        self.norm = norm(d_model)
        self.feedforward = feedforward(d_model)
        self.reset_parameters()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Collects from each sample with learned weights."""
        d_model = len(self.query)
        q = F.linear(self.query.to(x.dtype), self.qkv.weight[:d_model], self.qkv.bias[:d_model])
        kv = F.linear(x, self.qkv.weight[d_model:], self.qkv.bias[d_model:])
        k, v = rearrange(kv, "tokens (two heads dim) -> two tokens heads dim", two=2, dim=self.head_dim)
        scores = (k * q.view(-1, self.head_dim)).sum(-1) * self.head_dim**-0.5
        weighted = (v * softmax_within(scores, layout)[..., None]).flatten(1)
        y = self.out(weighted.new_zeros(layout.n_samples, d_model).index_add(0, layout.sample, weighted))
        y = y + self.feedforward(self.norm(y))
        return y * (layout.lengths.to(y.device) > 0)[:, None].to(y.dtype)

    def reset_parameters(self) -> None:
        """Draws the query and the maps anew."""
        nn.init.normal_(self.query, std=0.02)
        for linear in (self.qkv, self.out):
            linear_(linear, 0.02)
        feedforward: Any = self.feedforward
        feedforward.draw_weights(0.02, 0.02)
