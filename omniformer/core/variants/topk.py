"""Top-k attention: each query reads the keys that fit it best, and no others."""

from typing import Any

import torch
from torch import Tensor

from omniformer.core import checks
from omniformer.core.ranges import Count
from omniformer.core.variants.padded import PaddedAttention


class TopKAttention(PaddedAttention):
    """Self-attention over the `top_k` highest scores of each query and head
    ([Zhao et al. 2019](https://arxiv.org/abs/1912.11637), explicit sparse transformer;
    [Gupta et al. 2021](https://arxiv.org/abs/2106.06899)).

    Keys whose score equals the k-th highest are read too. All scores are computed: cost is that of full attention.

    Args:
        top_k: keys that a query reads.
        **heads: those of `MultiHead`, all of them.

    Raises:
        ValueError: `top_k` is below 1.

    Example:
        >>> from functools import partial
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=8, n_layers=1, n_heads=2, attention=partial(TopKAttention, top_k=4))
    """

    def __init__(self, *, top_k: Count = 8, **heads: Any) -> None:
        super().__init__(**heads)
        checks.counts(top_k=top_k)
        self.top_k = top_k

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        return q @ k.transpose(-1, -2) * self.scale

    def chosen(self, scores: Tensor, mask: Tensor) -> Tensor:
        scores = scores.detach().masked_fill(~mask, -torch.inf)
        top = scores.topk(min(self.top_k, scores.shape[-1]), dim=-1).values
        return mask & (scores >= top[..., -1:])
