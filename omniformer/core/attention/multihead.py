"""Multi-head attention as a layer: projections in, a plan's kernel, projection out."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from omniformer.core.attention.plan import Plan
from omniformer.core.attention.reference import Score
from omniformer.core.biases import Bias
from omniformer.core.cache import LayerCache
from omniformer.core.init import linear_
from omniformer.core.positions import Rotation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context:
    """What a block may read apart from its tokens; one object, made once per batch.

    Args:
        plan: who attends to whom, lowered for this batch.
        rotation: rotary positions of the tokens, or None.
        bias: additive scores shared by all layers, or None.
        cache: keys and values of earlier tokens for this layer, or None.
        memory: tokens of another sequence, for cross-attention.
        memory_plan: the plan from the tokens to `memory`.
        condition: one vector for each token's sample, for adaptive norms.

    Shapes:
        memory `[memory tokens, d_model]`; condition `[tokens, d_condition]`.
    """

    plan: Plan
    rotation: Rotation | None = None
    bias: Bias | None = None
    cache: LayerCache | None = None
    memory: Tensor | None = None
    memory_plan: Plan | None = None
    condition: Tensor | None = None


class SelfAttention(nn.Module):
    """Multi-head self-attention ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), 3.2.2) with fused projections.

    Fewer key heads than query heads give grouped-query attention ([Ainslie et al. 2023](https://arxiv.org/abs/2305.13245)),
    one gives multi-query attention ([Shazeer 2019](https://arxiv.org/abs/1911.02150)).

    Args:
        d_model: width of the residual stream.
        n_heads: number of query heads.
        n_kv_heads: number of key and value heads; as many as query heads by default.
        head_dim: features of a head; `d_model / n_heads` by default.
        bias: whether the projections have offsets.
        qk_norm: makes a norm for the queries and one for the keys of each head
            ([Henry et al. 2020](https://arxiv.org/abs/2010.04245)); none by default.
        score: a function of each scaled score, for example a soft cap.
        dropout: share of attention weights set to zero in training.

    Raises:
        ValueError: `n_heads` does not divide `d_model` (and no `head_dim` is given), or `n_kv_heads` does not divide
            `n_heads`.
    """

    def __init__(
        self,
        *,
        d_model: int,
        n_heads: int,
        n_kv_heads: int | None = None,
        head_dim: int | None = None,
        bias: bool = True,
        qk_norm: Callable[[int], nn.Module] | None = None,
        score: Score | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.head_dim = head_dim_of(d_model, n_heads) if head_dim is None else head_dim
        self.n_heads, self.n_kv_heads = n_heads, n_heads if n_kv_heads is None else n_kv_heads
        if n_heads % self.n_kv_heads:
            raise ValueError(f"n_kv_heads={self.n_kv_heads} does not divide n_heads={n_heads}")
        self.qkv = nn.Linear(d_model, (n_heads + 2 * self.n_kv_heads) * self.head_dim, bias=bias)
        self.out = nn.Linear(n_heads * self.head_dim, d_model, bias=bias)
        self.q_norm = qk_norm(self.head_dim) if qk_norm else nn.Identity()
        self.k_norm = qk_norm(self.head_dim) if qk_norm else nn.Identity()
        self.score = score
        self.dropout = dropout

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Mixes tokens `[tokens, d_model]` as the context's plan says."""
        q, k, v = self.project(x, context)
        if context.cache is not None:
            k, v = context.cache.append(k, v)
        mixed = context.plan.attend(
            q, k, v, bias=context.bias, score=self.score, dropout=self.dropout if self.training else 0.0
        )
        return self.out(rearrange(mixed, "tokens heads head_dim -> tokens (heads head_dim)"))

    def project(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, normalised and rotated.

        Shapes:
            `[tokens, heads, head_dim]`, `[tokens, kv_heads, head_dim]`, `[tokens, kv_heads, head_dim]`.
        """
        heads = rearrange(self.qkv(x), "tokens (heads head_dim) -> tokens heads head_dim", head_dim=self.head_dim)
        q, k, v = heads.split([self.n_heads, self.n_kv_heads, self.n_kv_heads], dim=1)
        q, k = self.q_norm(q), self.k_norm(k)
        if context.rotation is not None:
            q, k = context.rotation(q), context.rotation(k)
        return q, k, v

    def reset_parameters(self, std: float, output_std: float) -> None:
        """Draws the weights: `std` for the maps in, `output_std` for the map back onto the residual stream."""
        linear_(self.qkv, std)
        linear_(self.out, output_std)


def head_dim_of(d_model: int, n_heads: int) -> int:
    """Features of a head when all heads share the width.

    Raises:
        ValueError: `n_heads` does not divide `d_model`.
    """
    if n_heads < 1 or d_model % n_heads:
        raise ValueError(f"n_heads={n_heads} does not divide d_model={d_model}; choose a divisor or give head_dim")
    return d_model // n_heads
