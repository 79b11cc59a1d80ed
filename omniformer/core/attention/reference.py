"""Attention in plain floating-point maths: slow, able to do everything, and the oracle of every other kernel."""

from collections.abc import Iterator

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
    scores = attention_scores(q, k, scale=scale, bias=bias, score=score)
    return (scores.softmax(-1) if mask is None else masked_softmax(scores, mask)).to(q.dtype)


def attention_scores(q: Tensor, k: Tensor, *, scale: float, bias: Tensor | None, score: Score | None) -> Tensor:
    """`score(q k^T scale) + bias`; shapes as for `attention_weights`."""
    scores = q @ k.transpose(-1, -2) * scale
    if score is not None:
        scores = score(scores)
    # A bias's float32 weights, under mixed precision, make the softmax a float32 one.
    return scores if bias is None else scores + bias


def log_sum_exp(scores: Tensor, mask: Tensor | None) -> Tensor:
    """The log of the sum of the exponentials of the allowed scores; minus infinity, without gradient, where there are
    none.

    Example:
        >>> log_sum_exp(torch.zeros(2, 1), torch.tensor([[True], [False]])).tolist()
        [0.0, -inf]
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if mask is None:
        return scores.logsumexp(-1)
    alive = mask.any(-1, keepdim=True)  # as in `masked_softmax`
    found = scores.masked_fill(~mask & alive, -torch.inf).logsumexp(-1)
    return found.masked_fill(~alive.squeeze(-1), -torch.inf)


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
    grouped, mask, bias = _grouped(q, k.shape[1], mask, bias)
    weights = attention_weights(grouped, k[:, :, None], scale=scale, mask=mask, bias=bias, score=score)
    out = functional.dropout(weights, dropout) @ v[:, :, None]
    return rearrange(out, "batch kv_heads group queries head_dim -> batch (kv_heads group) queries head_dim")


def dense_lse(
    q: Tensor, k: Tensor, *, scale: float, mask: Tensor | None, bias: Tensor | None, score: Score | None
) -> Tensor:
    """What `log_sum_exp` gives for the scores of `dense_attention`, whose shapes these are.

    Shapes:
        → `[batch, heads, queries]`.
    """
    grouped, mask, bias = _grouped(q, k.shape[1], mask, bias)
    lse = log_sum_exp(attention_scores(grouped, k[:, :, None], scale=scale, bias=bias, score=score), mask)
    return lse.flatten(1, 2)


def _grouped(
    q: Tensor, kv_heads: int, mask: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Query heads, and what belongs to them, in groups that share a key head."""
    grouped = rearrange(
        q, "batch (kv_heads group) queries head_dim -> batch kv_heads group queries head_dim", kv_heads=kv_heads
    )
    if bias is not None:
        bias = rearrange(
            bias, "batch (kv_heads group) queries keys -> batch kv_heads group queries keys", kv_heads=kv_heads
        )
    return grouped, None if mask is None else mask[:, :, None], bias


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
        pairs = self._scores(q, k, scale=scale, bias=bias, score=score)
        return [masked_softmax(scores, mask).to(q.dtype) for scores, mask in pairs]

    def lse(self, q: Tensor, k: Tensor, how: Weighing) -> Tensor:
        pairs = self._scores(q, k, scale=how.scale, bias=how.bias, score=how.score)
        nothing = q[:0, :, 0].to(torch.promote_types(q.dtype, torch.float32))
        return torch.cat([nothing, *(log_sum_exp(scores, mask).T for scores, mask in pairs)])

    def _scores(
        self, q: Tensor, k: Tensor, *, scale: float, bias: Bias | None, score: Score | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The scores of each sample `[heads, queries, keys]`, and which of them count."""
        token = self.layout.view().token.split(self.layout.lengths.tolist())
        key_token = self.key_layout.view().token.split(self.key_layout.lengths.tolist())
        queries = q.split(self.layout.lengths.tolist())
        for i, k_sample in enumerate(self._keys_of_samples(k, q.shape[1])):
            query, key = self.layout.view(token[i])[:, None], self.key_layout.view(key_token[i])[None, :]
            mask = self.rule.attend(query, key).expand(len(token[i]), len(key_token[i]))
            q_sample = rearrange(queries[i], "queries heads head_dim -> heads queries head_dim")
            added = None if bias is None else bias(query, key)
            yield attention_scores(q_sample, k_sample, scale=scale, bias=added, score=score), mask

    def _keys_of_samples(self, packed: Tensor, n_heads: int) -> list[Tensor]:
        """Keys or values of each sample, repeated so that every query head has its own."""
        group = n_heads // packed.shape[1]
        repeated = packed.repeat_interleave(group, dim=1)
        return [
            rearrange(x, "keys heads head_dim -> heads keys head_dim")
            for x in repeated.split(self.key_layout.lengths.tolist())
        ]
