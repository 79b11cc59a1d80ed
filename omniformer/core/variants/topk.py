"""Top-k attention: each query reads the keys that fit it best, and no others."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.attention.plan import Plan
from omniformer.core.biases import Bias
from omniformer.core.variants.padded import PaddedBlock, masked_softmax


class TopKAttention(SelfAttention):
    """Self-attention over the `top_k` highest scores of each query and head
    ([Zhao et al. 2019](https://arxiv.org/abs/1912.11637), explicit sparse transformer;
    [Gupta et al. 2021](https://arxiv.org/abs/2106.06899)).

    Keys whose score equals the k-th highest are read too. All scores are computed: cost is that of full attention.

    Args:
        d_model: width of the residual stream.
        n_heads: number of query heads.
        n_kv_heads: number of key and value heads; as many as query heads by default.
        top_k: keys that a query reads.
        bias: whether the projections have offsets.
        others: as for `SelfAttention`.

    Raises:
        ValueError: `top_k` is below 1; and as for `SelfAttention`.

    Example:
        >>> from functools import partial
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=8, n_layers=1, n_heads=2, attention=partial(TopKAttention, top_k=4))
    """

    not_exported = "it lays out samples by the lengths at hand"

    def __init__(
        self,
        *,
        d_model: int,
        n_heads: int,
        n_kv_heads: int | None = None,
        top_k: int = 8,
        bias: bool = True,
        **others: Any,
    ) -> None:
        super().__init__(d_model=d_model, n_heads=n_heads, n_kv_heads=n_kv_heads, bias=bias, **others)
        if top_k < 1:
            raise ValueError(f"top_k={top_k} must be at least 1")
        self.top_k = top_k

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: Plan, bias: Bias | None) -> Tensor:
        """The values at each query's best keys."""
        block = PaddedBlock.of(plan)
        k, v = (block.keys(x.flatten(0, -3), self.n_heads) for x in (k, v))
        scores = block.queries(q) @ k.transpose(-1, -2) * (self.scale or self.head_dim**-0.5)
        if self.score is not None:
            scores = self.score(scores)
        scores = scores + block.bias(self.biases(bias))
        weights = masked_softmax(scores, block.mask & self._best(scores.detach(), block.mask))
        return block.packed(F.dropout(weights, self.dropout, self.training) @ v)

    def _best(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Which keys are among a query's best allowed ones."""
        scores = scores.masked_fill(~mask, -torch.inf)
        top = scores.topk(min(self.top_k, scores.shape[-1]), dim=-1).values
        return scores >= top[..., -1:]
