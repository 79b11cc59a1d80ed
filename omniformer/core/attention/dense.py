"""Attention over dense blocks: a view when samples are equally long, else buckets padded inside attention only."""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from omniformer.core.attention.reference import Score, dense_attention
from omniformer.core.biases import Bias
from omniformer.core.layout import Layout, View
from omniformer.core.rules import Causal, Full, Rule

# What one more bucket costs, in units of one (query, key) pair: kernels to start and rows to gather.
# Measured on 2 CPU cores, 6 heads of 64: about 0.15 ms against 5 ns for a pair of all heads, forward and backward.
_BUCKET_COST = 30_000
_MAX_BUCKETS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bucket:
    """Samples of similar length, as rows of token numbers; a short row repeats its own last token."""

    query: Tensor  # [rows, queries]
    key: Tensor  # [rows, keys]
    query_valid: Tensor  # bool [rows, queries]
    mask: Tensor | None  # bool [rows or 1, 1, queries or 1, keys]; None: everything, or causal
    causal: bool
    dead: Tensor | None  # bool [rows, 1, queries, 1]: queries that may attend to nothing


class Dense:
    """Scaled-dot-product attention on blocks of samples of similar length.

    Equal lengths are a free view. Else samples are sorted into a few buckets, chosen so that the padded area plus a cost
    for each bucket is smallest; only attention ever sees padding. Every rule and bias; no (query, key) block is built for
    `Full` and `Causal`, which PyTorch's fused kernels know.
    """

    name = "dense"

    def __init__(self, rule: Rule, layout: Layout, key_layout: Layout) -> None:
        self.layout, self.key_layout = layout, key_layout
        self.uniform = _is_uniform(layout) and _is_uniform(key_layout) and layout.n_tokens > 0
        groups = [torch.arange(layout.n_samples)] if self.uniform else _group(layout.lengths, key_layout.lengths)
        self.buckets = [_bucket(rule, layout, key_layout, samples.to(layout.device)) for samples in groups]
        self.order = None
        if not self.uniform:
            order = [bucket.query[bucket.query_valid] for bucket in self.buckets]
            # Tokens of samples that have no keys at all are in no bucket: their output is zero.
            self.order = torch.cat(order) if order else torch.zeros(0, dtype=torch.long, device=layout.device)

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        scale: float,
        bias: Bias | None = None,
        score: Score | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Attends; see `Plan.attend` for arguments and shapes."""
        outs = []
        for bucket in self.buckets:
            rows = [self._rows(x, index) for x, index in ((q, bucket.query), (k, bucket.key), (v, bucket.key))]
            added = None
            if bias is not None:
                query, key = View(self.layout, bucket.query[:, :, None]), View(self.key_layout, bucket.key[:, None, :])
                added = rearrange(bias(query, key), "heads rows queries keys -> rows heads queries keys")
            out = _attend(*rows, bucket, scale=scale, bias=added, score=score, dropout=dropout)
            if bucket.dead is not None:
                out = out.masked_fill(bucket.dead, 0.0)
            outs.append(rearrange(out, "rows heads queries head_dim -> rows queries heads head_dim"))
        if self.uniform:
            return rearrange(outs[0], "rows queries heads head_dim -> (rows queries) heads head_dim")
        packed = [out[bucket.query_valid] for out, bucket in zip(outs, self.buckets, strict=True)]
        return torch.zeros_like(q).index_copy(0, self.order, torch.cat(packed)) if packed else q * 0.0

    def _rows(self, x: Tensor, index: Tensor) -> Tensor:
        if self.uniform:
            return rearrange(x, "(rows seq) heads head_dim -> rows heads seq head_dim", rows=index.shape[0])
        rows = x.index_select(0, index.flatten())
        return rearrange(rows, "(rows seq) heads head_dim -> rows heads seq head_dim", rows=index.shape[0])


def _attend(
    q: Tensor, k: Tensor, v: Tensor, bucket: _Bucket, *, scale: float, bias: Tensor | None, score: Score | None, dropout: float
) -> Tensor:
    mask = bucket.mask
    if score is not None or prefers_explicit(q, k):
        if bucket.causal:
            queries, keys = q.shape[-2], k.shape[-2]
            mask = torch.ones(queries, keys, dtype=torch.bool, device=q.device).tril()[None, None]
        return dense_attention(q, k, v, scale=scale, mask=mask, bias=bias, score=score, dropout=dropout)
    causal = bucket.causal and bias is None
    if bias is not None:
        if bucket.causal:
            mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()[None, None]
        mask = bias if mask is None else bias.masked_fill(~mask, -torch.inf)
        mask = mask.to(q.dtype)
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=causal, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
    )


def prefers_explicit(q: Tensor, k: Tensor) -> bool:
    """Whether plain matmul and softmax beat PyTorch's fused kernel here: short bfloat16 sequences on a CPU.

    Measured on 2 CPU cores with AVX-512 bf16: at 64 tokens the fused kernel takes 4 times as long, at 256 tokens 1.2.
    """
    return q.device.type == "cpu" and q.dtype == torch.bfloat16 and k.shape[-2] <= 256


def _is_uniform(layout: Layout) -> bool:
    return layout.n_samples > 0 and bool((layout.lengths == layout.lengths[0]).all())


def _bucket(rule: Rule, layout: Layout, key_layout: Layout, samples: Tensor) -> _Bucket:
    query, query_valid = _token_rows(layout, samples)
    key, key_valid = _token_rows(key_layout, samples)
    same = layout is key_layout and layout.start is None
    if isinstance(rule, Causal) and same:
        # Padding stands at the end, where no real query looks.
        return _Bucket(query=query, key=key, query_valid=query_valid, mask=None, causal=True, dead=None)
    padded = not bool(key_valid.all())
    mask = key_valid[:, None, None, :] if padded else None
    if not isinstance(rule, Full):
        allowed = rule.attend(View(layout, query[:, :, None]), View(key_layout, key[:, None, :]))
        allowed = allowed.expand(*query.shape, key.shape[1])[:, None]
        mask = allowed if mask is None else allowed & mask
    dead = None
    if mask is not None:
        alive = mask.any(-1, keepdim=True)
        if not bool(alive.all()):
            dead = ~alive
            mask = mask | dead
    return _Bucket(query=query, key=key, query_valid=query_valid, mask=mask, causal=False, dead=dead)


def _token_rows(layout: Layout, samples: Tensor) -> tuple[Tensor, Tensor]:
    """Token numbers of some samples as rows, and which are real; a short row repeats the sample's own last token."""
    lengths = layout.lengths.to(layout.device)[samples]
    place = torch.arange(int(lengths.max()), device=layout.device)
    rows = layout.offsets[samples][:, None] + torch.minimum(place, lengths[:, None] - 1)
    return rows, place < lengths[:, None]


def _group(lengths: Tensor, key_lengths: Tensor) -> list[Tensor]:
    """Samples in buckets of similar size, so that padded area plus `_BUCKET_COST` for each bucket is smallest.

    Samples without queries or without keys are in no bucket.
    """
    kept = ((lengths > 0) & (key_lengths > 0)).nonzero().flatten()
    if not len(kept):
        return []
    kept = kept[torch.argsort(torch.maximum(lengths, key_lengths)[kept])]
    queries, keys = lengths[kept].cummax(0).values, key_lengths[kept].cummax(0).values
    # Cuts are worth trying at a few quantiles only; the dynamic programme below is then trivial.
    n = len(kept)
    cuts = sorted({round(n * i / 16) for i in range(17)})
    best: list[tuple[float, list[int]]] = [(0.0, [])] + [(float("inf"), [])] * (len(cuts) - 1)
    for j in range(1, len(cuts)):
        area = int(queries[cuts[j] - 1]) * int(keys[cuts[j] - 1])
        for i in range(j):
            cost = best[i][0] + (cuts[j] - cuts[i]) * area + _BUCKET_COST
            if cost < best[j][0] and len(best[i][1]) < _MAX_BUCKETS:
                best[j] = (cost, [*best[i][1], cuts[j]])
    ends = best[-1][1]
    return [kept[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
