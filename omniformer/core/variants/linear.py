"""Linear attention: a kernel in place of the softmax, so that time grows with the length and not with its square."""

from collections.abc import Callable
from typing import Any

import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from omniformer.core.attention.multihead import Context, SelfAttention
from omniformer.core.attention.plan import Plan
from omniformer.core.biases import Bias
from omniformer.core.chunks import Chunks, chunks_of
from omniformer.core.ranges import Count
from omniformer.core.recurrence import in_float32, refuse
from omniformer.core.rules import Causal, Full

# Tokens in a row. Inside a row causal attention is quadratic, between rows it passes on one state of n_features x
# head_dim: rows about as long as a head is wide balance the two.
_SIZE = 64


class FeatureMap(nn.Module):
    """Maps queries and keys to positive features whose dot product stands in for `exp(q k^T / sqrt(head_dim))`.

    A subclass implements `forward`, or `query` and `key` where the two differ. The features of one query may all be
    multiplied by one number: it cancels.

    Args:
        head_dim: features of a head.

    Shapes:
        `[..., head_dim]` → `[..., n_features]`, float32.
    """

    def __init__(self, head_dim: Count) -> None:
        super().__init__()
        self.head_dim = head_dim

    def query(self, q: Tensor) -> Tensor:
        """Features of queries."""
        return self(q)

    def key(self, k: Tensor) -> Tensor:
        """Features of keys."""
        return self(k)


class EluFeatures(FeatureMap):
    """`elu(x) + 1` ([Katharopoulos et al. 2020](https://arxiv.org/abs/2006.16236), equation 7).

    Example:
        >>> EluFeatures(2)(torch.tensor([0.0, 1.0])).tolist()
        [1.0, 2.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        # exp(x) for x < 0 written so: `elu(x) + 1` rounds to zero below -17, exp only below -100.
        x = x.float()
        return torch.where(x > 0, x + 1, x.clamp(max=0.0).exp())


class ReluFeatures(FeatureMap):
    """`relu(x)`, the generalized kernel of [Choromanski et al. 2020](https://arxiv.org/abs/2009.14794), section 4.3.

    A query whose features are all zero gets a zero output.
    """

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(x.float())


class LinearAttention(SelfAttention):
    """Linear attention ([Katharopoulos et al. 2020](https://arxiv.org/abs/2006.16236)).

    `f(q) (f(k)^T v) / f(q) f(k)^T 1` with a feature map f: time and memory are linear in each sample's length. Under
    `Causal` a sample is read in rows of 64 tokens: pair by pair inside a row, through the sum of `f(k)^T v` before it.
    Sums are float32 whatever the model's dtype. There is no matrix of weights, so there can be no bias, no dropout of
    weights and no other rule. Rotary positions turn queries and keys before the feature map. Decoding with a cache
    keeps the sums alone, so a step costs the same however much was read.

    Args:
        feature_map: makes the feature map, called with `head_dim`.
        **heads: those of `MultiHead`, apart from what is said of scores and their weights: there are none.

    Raises:
        ValueError: at first use, the rule is neither `Full()` nor `Causal()`, or there is a bias.

    Example:
        >>> from omniformer.core.layout import Layout
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=16, n_layers=1, n_heads=2, attention=LinearAttention)
        >>> core(torch.randn(5, 16), Layout.from_lengths(2, 3), Causal()).shape
        torch.Size([5, 16])
    """

    not_exported = "it chunks, hashes or sums tokens by the lengths at hand"

    def __init__(self, *, feature_map: Callable[[int], FeatureMap] = EluFeatures, **heads: Any) -> None:
        super().__init__(**heads, score=None, pair_bias=None, scale=None, dropout=0.0)
        self.features = feature_map(self.head_dim)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: Plan, bias: Bias | None) -> Tensor:
        refuse("linear attention", plan, bias=bias)
        if not isinstance(plan.rule, Full | Causal):
            raise ValueError(f"linear attention can do Full() and Causal(); received {plan.rule}")
        with in_float32(q):
            q, k = self.features.query(q), self.features.key(k)
            return linear_attention(q, k, v, chunks_of(plan.layout, _SIZE), causal=isinstance(plan.rule, Causal))[0]

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Mixes tokens `[tokens, d_model]`; with a cache, carries on from the sums that earlier tokens left there."""
        if context.cache is None:
            return super().forward(x, context)
        refuse("linear attention", context.plan, bias=self.biases(context.bias), cached=True)
        if not isinstance(context.plan.rule, Causal):
            raise ValueError(f"linear attention can decode under Causal(); received {context.plan.rule}")
        q, k, v = self.project(x, context)
        state, chunks = context.cache.state, chunks_of(context.plan.layout, _SIZE)
        with in_float32(q):
            q, k = self.features.query(q), self.features.key(k)
            mixed, after = linear_attention(q, k, v, chunks, causal=True, before=state.get("sums"))
        state["sums"] = after.detach()
        return self.join(mixed)

    @property
    def cached_per_token(self) -> int:
        return 0  # sums of one size take the place of keys


def linear_attention(
    q: Tensor, k: Tensor, v: Tensor, chunks: Chunks, *, causal: bool, before: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`q (k^T v) / q k^T 1` for features q and k, sample by sample; and the sums `k^T [v, 1]`.

    Args:
        q: features of the queries.
        k: features of the keys.
        v: values.
        chunks: the samples in rows.
        causal: whether a token reads only itself and those before it.
        before: the sums that earlier tokens of each sample left.

    Shapes:
        q `[tokens, heads, n_features]`, k `[tokens, kv_heads, n_features]`, v `[tokens, kv_heads, head_dim]` →
        `[tokens, heads, head_dim]`, and sums `[samples, kv_heads, n_features, head_dim + 1]`, as `before`.
    """
    dtype = v.dtype
    # A column of ones beside the values: its weighted sum is the denominator.
    v_one = torch.cat([v.float(), v.new_ones(*v.shape[:2], 1, dtype=torch.float32)], dim=-1)
    q = rearrange(q, "tokens (kv_heads group) features -> tokens kv_heads group features", kv_heads=k.shape[1])
    q, k, v_one = (chunks.rows(x) for x in (q, k, v_one))
    state = einsum(k, v_one, "rows size heads features, rows size heads out -> rows heads features out")
    total = chunks.sum_by_sample(state)
    state = chunks.sum_before(state) if causal else total.index_select(0, chunks.sample)
    if before is not None:
        total, state = total + before, state + before.index_select(0, chunks.sample)
    sums = einsum(q, state, "rows size heads group features, rows heads features out -> rows size heads group out")
    if causal:
        sums = sums + _inside(q, k, v_one)
    out = chunks.packed(rearrange(sums, "rows size heads group out -> rows size (heads group) out"))
    numerator, denominator = out[..., :-1], out[..., -1:]
    # A query without keys, or whose features are all zero, gets zero; 1e-30 is far below any honest denominator.
    dead = denominator < 1e-30
    return (numerator / denominator.masked_fill(dead, 1.0)).masked_fill(dead, 0.0).to(dtype), total


def _inside(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The causal sums over the keys of a query's own row."""
    scores = einsum(
        q, k, "rows queries heads group features, rows keys heads features -> rows heads group queries keys"
    ).tril()
    return einsum(scores, v, "rows heads group queries keys, rows keys heads out -> rows queries heads group out")
