"""Attention over blocks: some queries, some keys, and a mask between them, many blocks of equal size at a time."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from omniformer.core.attention.kernel import Kernel, Weighing
from omniformer.core.attention.products import attention_by_products, fused_is_slow, prefers_products
from omniformer.core.attention.reference import dense_attention, dense_lse, no_tokens
from omniformer.core.attention.rows import Gather
from omniformer.core.layout import Layout, View
from omniformer.core.rules import Rule

# A mask is evaluated for about this many pairs at a time, so that the integers it is made from stay in cache.
_PAIRS_AT_A_TIME = 1 << 18
# Buckets that a compiled program holds, of which each number needs a program of its own.
_MOST_COMPILED = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bucket:
    """Blocks of equal size, as rows of token numbers.

    A row that is short repeats a token of its own sample, never of another: what stands in one sample, even a NaN,
    cannot reach the next through a weight of zero.

    Args:
        query: token numbers of the queries.
        key: token numbers of the keys.
        owned: False where the output is not taken from this place: it only fills the row, or another bucket has it.
        mask: who attends to whom; None for everybody, or causal.
        causal: whether query i attends to keys 0 to i, for kernels that know it without a mask.
        dead: queries that may attend to nothing; their mask allows everything, and their output is set to zero.

    Shapes:
        query int64 `[rows, queries]`; key int64 `[rows, keys]`; owned bool `[rows, queries]`; mask bool `[rows or 1, 1,
        queries or 1, keys]`; dead bool `[rows or 1, 1, queries or 1, 1]`.
    """

    query: Tensor
    key: Tensor
    owned: Tensor
    mask: Tensor | None = None
    causal: bool = False
    dead: Tensor | None = None


class Blocks(Kernel):
    """A kernel that attends within buckets of blocks; `Dense` and `Banded` differ in the buckets they cut.

    Every bias and score. Tokens that no bucket owns, as those of samples without keys, get zeros.

    Args:
        layout: the samples of the queries.
        key_layout: the samples of the keys.
        buckets: the blocks.
        in_order: whether the buckets, one after the other, hold all tokens in their order, so that each is a view and
            nothing need be gathered.
    """

    def __init__(self, layout: Layout, key_layout: Layout, buckets: list[Bucket], *, in_order: bool = False) -> None:
        self.layout, self.key_layout, self.buckets, self.in_order = layout, key_layout, buckets, in_order
        # Keys may come as the rows of a cache, `[samples, keys, kv_heads, head_dim]`.
        self.takes_rows = in_order and len(buckets) == 1 and len(buckets[0].key) == key_layout.n_samples
        if in_order:
            return
        none = torch.zeros(0, dtype=torch.long, device=layout.device)
        query = torch.cat([none, *(bucket.query.flatten() for bucket in buckets)])
        key = torch.cat([none, *(bucket.key.flatten() for bucket in buckets)])
        owned = torch.cat([none.bool(), *(bucket.owned.flatten() for bucket in buckets)])
        # What is not owned goes to a place behind all tokens: to leave it out, the host would wait for how much it is.
        place = torch.full((layout.n_tokens + 1,), -1, device=layout.device)
        place[torch.where(owned, query, layout.n_tokens)] = torch.arange(len(query), device=layout.device)
        self._queries = Gather(query, layout.n_tokens, holes=False)
        self._keys = Gather(key, key_layout.n_tokens, holes=False)
        self._outputs = Gather(place[:-1], len(query))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, how: Weighing) -> Tensor:
        if torch.compiler.is_compiling() and len(self.buckets) > _MOST_COMPILED:
            apart: Any = torch.compiler.disable(self._attend)
            return apart(q, k, v, how)  # one program for any number of views
        return self._attend(q, k, v, how)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, how: Weighing) -> Tensor:
        outs = []
        for bucket, q_rows, k_rows, v_rows in zip(self.buckets, *self._rows(q, k, v), strict=True):
            out = within(q_rows, k_rows, v_rows, bucket, self._added(bucket, how), how)
            outs.append(out.transpose(1, 2).flatten(0, 1))
        if self.in_order:
            return outs[0] if len(outs) == 1 else torch.cat(outs)
        nothing = no_tokens(q, k, v, how.bias, self.layout, self.key_layout)
        return self._outputs(torch.cat([nothing, *outs]))

    def lse(self, q: Tensor, k: Tensor, how: Weighing) -> Tensor:
        found = []
        for bucket, q_rows, k_rows in zip(self.buckets, *self._rows(q, k), strict=True):
            mask = _lower(q_rows, k_rows) if bucket.causal else bucket.mask
            lse = dense_lse(
                q_rows, k_rows, scale=how.scale, mask=mask, bias=self._added(bucket, how, q.shape[1]), score=how.score
            )
            lse = lse if bucket.dead is None else lse.masked_fill(bucket.dead[..., 0], -torch.inf)
            found.append(rearrange(lse, "rows heads queries -> (rows queries) heads"))
        if self.in_order:
            return found[0] if len(found) == 1 else torch.cat(found)
        nothing = q[:0, :, 0].to(torch.promote_types(q.dtype, torch.float32))
        lse, unowned = self._outputs(torch.cat([nothing, *found])), self._outputs.missing
        return lse if unowned is None else lse.masked_fill(unowned[:, None], -torch.inf)

    def _added(self, bucket: Bucket, how: Weighing, heads: int = -1) -> Tensor | None:
        """The additive scores of a bucket, `[rows or 1, heads or 1, queries, keys]`.

        Args:
            heads: how many there shall be, where one that counts for all is not enough.
        """
        if how.bias is None:
            return None
        query, key = View(self.layout, bucket.query[:, :, None]), View(self.key_layout, bucket.key[:, None, :])
        added = rearrange(how.bias(query, key), "heads rows queries keys -> rows heads queries keys")
        return added.expand(-1, heads, -1, -1)

    def _rows(self, q: Tensor, *read: Tensor) -> list[list[Tensor]]:
        """Queries and what is read, keys and values, of each bucket, `[rows, heads, seq, head_dim]`."""
        queries, keys = [b.query.shape for b in self.buckets], [b.key.shape for b in self.buckets]
        if self.takes_rows:
            return [[_split(x, shape)] for x, shape in ((q, queries[0]), *((x, keys[0]) for x in read))]
        if self.in_order:
            gathered = ((q, queries), *((x, keys) for x in read))
        else:
            gathered = ((self._queries(q), queries), *((self._keys(x), keys) for x in read))
        return [
            [
                _split(part, shape)
                for part, shape in zip(x.split([rows * seq for rows, seq in shapes]), shapes, strict=True)
            ]
            for x, shapes in gathered
        ]


def within(q: Tensor, k: Tensor, v: Tensor, bucket: Bucket, bias: Tensor | None, how: Weighing) -> Tensor:
    """Attention within the blocks of one bucket, by PyTorch's fused kernels or written out.

    Shapes:
        q `[rows, heads, queries, head_dim]`, k and v `[rows, kv_heads, keys, head_dim]`, bias `[rows or 1, heads or 1,
        queries, keys]` → `[rows, heads, queries, head_dim]`.
    """
    mask, plain = bucket.mask, how.score is None and bias is None
    if plain and prefers_products(q, k, causal=bucket.causal):
        options = {"scale": how.scale, "dropout": how.dropout}
        out = attention_by_products(q, k, v, mask=mask, causal=bucket.causal, **options)
    elif not plain and (how.score is not None or fused_is_slow(q, k)):
        mask = _lower(q, k) if bucket.causal else mask
        bias = None if bias is None else bias.expand(-1, q.shape[1], -1, -1)
        options = {"scale": how.scale, "score": how.score, "dropout": how.dropout}
        out = dense_attention(q, k, v, mask=mask, bias=bias, **options)
    else:
        out = _fused(q, k, v, bucket, bias, how)
    return out if bucket.dead is None else out.masked_fill(bucket.dead, 0.0)


def _fused(q: Tensor, k: Tensor, v: Tensor, bucket: Bucket, bias: Tensor | None, how: Weighing) -> Tensor:
    mask = bucket.mask
    if bias is not None:
        mask = _lower(q, k) if bucket.causal else mask
        mask = (bias if mask is None else bias.masked_fill(~mask, -torch.inf)).to(q.dtype)
    return functional.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=mask,
        dropout_p=how.dropout,
        is_causal=mask is None and bucket.causal,
        scale=how.scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )


def _lower(q: Tensor, k: Tensor) -> Tensor:
    """The mask of a bucket that is causal."""
    return torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()[None, None]


def masked(rule: Rule, layout: Layout, key_layout: Layout, bucket: Bucket, key_valid: Tensor) -> Bucket:
    """The bucket with the rule's mask, evaluated for every pair of its blocks.

    Shapes:
        key_valid bool `[rows, keys]`: False where a key only fills the row.
    """
    rows = max(_PAIRS_AT_A_TIME // max(bucket.query.shape[1] * bucket.key.shape[1], 1), 1)
    masks = []
    for query, key, valid in zip(bucket.query.split(rows), bucket.key.split(rows), key_valid.split(rows), strict=True):
        allowed = rule.attend(View(layout, query[:, :, None]), View(key_layout, key[:, None, :]))
        masks.append((allowed & valid[:, None, :]).expand(len(query), query.shape[1], key.shape[1])[:, None])
    return with_mask(bucket, torch.cat(masks))


def with_mask(bucket: Bucket, mask: Tensor) -> Bucket:
    """The bucket with this mask, and a list of the queries that it leaves nothing.

    Softmax over nothing is NaN in some kernels, so such queries may look everywhere and their output is set to zero.
    """
    alive = mask.any(-1, keepdim=True)
    if bool(alive.all()):
        return replace(bucket, mask=mask)
    return replace(bucket, mask=mask | ~alive, dead=~alive)


def _split(x: Tensor, shape: torch.Size) -> Tensor:
    """Tokens `[rows * seq, heads, head_dim]`, or `[rows, seq, heads, head_dim]`, as `[rows, heads, seq, head_dim]`."""
    return (x if x.ndim == 4 else x.unflatten(0, tuple(shape))).transpose(1, 2)
