"""Attention in plain floating-point maths: slow, able to do everything, and the oracle of every other kernel."""

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from omniformer.core.attention.kernel import Kernel, Score, Weighing
from omniformer.core.biases import Bias
from omniformer.core.layout import Layout
from omniformer.core.rules import Rule


def attention_weights(
    q: Tensor, k: Tensor, *, scale: float, mask: Tensor | None, bias: Tensor | None, score: Score | None
) -> Tensor:
    """`softmax(q k^T scale)` over the allowed keys; all zeros for a query that may attend to nothing.

    Shapes:
        q `[..., kv_heads, group, queries, head_dim]`, k `[..., kv_heads, 1, keys, head_dim]`; mask and bias broadcast
        to the result `[..., kv_heads, group, queries, keys]`.
    """
    scores = q @ k.transpose(-1, -2) * scale
    if score is not None:
        scores = score(scores)
    if bias is not None:
        scores = scores + bias  # whose float32 weights, under mixed precision, make the softmax a float32 one
    return (scores.softmax(-1) if mask is None else masked_softmax(scores, mask)).to(q.dtype)


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the allowed keys; zeros, with zero gradient, where there are none.

    Example:
        >>> masked_softmax(torch.zeros(2, 2), torch.tensor([[True, True], [False, False]])).tolist()
        [[0.5, 0.5], [0.0, 0.0]]
    """
    # softmax over nothing is 0/0; such a row gets finite scores first, so that not even its gradient is NaN.
    alive = mask.any(-1, keepdim=True)
    return scores.masked_fill(~mask & alive, -torch.inf).softmax(-1) * alive


def dense_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    score: Score | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Attention of padded or equally long samples, written out; groups of query heads share their key head.

    Shapes:
        q `[batch, heads, queries, head_dim]`, k and v `[batch, kv_heads, keys, head_dim]`; mask `[batch or 1, 1,
        queries or 1, keys]`; bias `[batch or 1, heads, queries, keys]` → `[batch, heads, queries, head_dim]`.
    """
    kv_heads = k.shape[1]
    grouped = rearrange(
        q, "batch (kv_heads group) queries head_dim -> batch kv_heads group queries head_dim", kv_heads=kv_heads
    )
    if bias is not None:
        bias = rearrange(
            bias, "batch (kv_heads group) queries keys -> batch kv_heads group queries keys", kv_heads=kv_heads
        )
    if mask is not None:
        mask = mask[:, :, None]
    weights = attention_weights(grouped, k[:, :, None], scale=scale, mask=mask, bias=bias, score=score)
    out = functional.dropout(weights, dropout) @ v[:, :, None]
    return rearrange(out, "batch kv_heads group queries head_dim -> batch (kv_heads group) queries head_dim")


def no_tokens(q: Tensor, k: Tensor, v: Tensor, bias: Bias | None, layout: Layout, key_layout: Layout) -> Tensor:
    """The output for no token at all, made from everything that outputs are made from.

    Joined to a kernel's outputs, it lets an absent modality have gradients of zero instead of none, as data-parallel
    training needs.

    Shapes:
        `[0, heads, head_dim]`.
    """
    parts = [q, k, v]
    if bias is not None:
        none = torch.zeros(0, dtype=torch.long, device=q.device)
        parts.append(bias(layout.view(none), key_layout.view(none)).to(q.dtype))
    return torch.cat([part.flatten()[:0] for part in parts]).view(0, q.shape[1], v.shape[-1])


class Reference(Kernel):
    """One sample after the other, one matrix of weights each.

    Any rule, bias and score; `weights` hands out the matrices for attention maps. Time and memory are quadratic in each
    sample's length.
    """

    name = "reference"

    def __init__(self, rule: Rule, layout: Layout, key_layout: Layout) -> None:
        self.rule, self.layout, self.key_layout = rule, layout, key_layout

    def attend(self, q: Tensor, k: Tensor, v: Tensor, how: Weighing) -> Tensor:
        weights = self.weights(q, k, scale=how.scale, bias=how.bias, score=how.score)
        values = self._keys_of_samples(v, q.shape[1])
        outs = [
            functional.dropout(each, how.dropout) @ v_sample for each, v_sample in zip(weights, values, strict=True)
        ]
        outs = [rearrange(out, "heads tokens head_dim -> tokens heads head_dim") for out in outs]
        return torch.cat([no_tokens(q, k, v, how.bias, self.layout, self.key_layout), *outs])

    def weights(
        self, q: Tensor, k: Tensor, *, scale: float, bias: Bias | None = None, score: Score | None = None
    ) -> list[Tensor]:
        """The attention weights of each sample.

        Shapes:
            for each sample `[heads, queries, keys]`.
        """
        matrices = []
        token = self.layout.view().token.split(self.layout.lengths.tolist())
        key_token = self.key_layout.view().token.split(self.key_layout.lengths.tolist())
        queries = q.split(self.layout.lengths.tolist())
        for i, k_sample in enumerate(self._keys_of_samples(k, q.shape[1])):
            query, key = self.layout.view(token[i])[:, None], self.key_layout.view(key_token[i])[None, :]
            mask = self.rule.attend(query, key).expand(len(token[i]), len(key_token[i]))
            q_sample = rearrange(queries[i], "queries heads head_dim -> heads queries head_dim")
            added = None if bias is None else bias(query, key)
            matrices.append(attention_weights(q_sample, k_sample, scale=scale, mask=mask, bias=added, score=score))
        return matrices

    def _keys_of_samples(self, packed: Tensor, n_heads: int) -> list[Tensor]:
        """Keys or values of each sample, repeated so that every query head has its own."""
        group = n_heads // packed.shape[1]
        repeated = packed.repeat_interleave(group, dim=1)
        return [
            rearrange(x, "keys heads head_dim -> heads keys head_dim")
            for x in repeated.split(self.key_layout.lengths.tolist())
        ]
