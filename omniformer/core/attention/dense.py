"""Attention over whole samples: a view when they are equally long, else buckets padded inside attention only."""

from dataclasses import replace

import torch
from torch import Tensor

from omniformer.core.attention.blocks import Blocks, Bucket, masked
from omniformer.core.attention.rows import token_rows
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Rule

# What one more bucket costs, in units of one (query, key) pair: kernels to start and rows to gather.
# Measured on 2 CPU cores, 6 heads of 64: about 0.15 ms against 5 ns for a pair of all heads, forward and backward.
_BUCKET_COST = 30_000
_MAX_BUCKETS = 6


class Dense(Blocks):
    """Scaled-dot-product attention on blocks of samples of similar length.

    Equal lengths are a free view. Else samples are sorted into a few buckets, chosen so that the padded area plus a
    cost for each bucket is smallest; only attention ever sees padding. Every rule and bias; no (query, key) block is
    built for `Full` and `Causal`, which PyTorch's fused kernels know.
    """

    name = "dense"

    def __init__(self, rule: Rule, layout: Layout, key_layout: Layout) -> None:
        in_order = _is_uniform(layout) and _is_uniform(key_layout)
        samples = torch.arange(layout.n_samples)
        groups = [samples] if in_order else grouped(layout.lengths, key_layout.lengths)
        buckets = [sample_bucket(rule, layout, key_layout, group) for group in groups]
        super().__init__(layout, key_layout, buckets, in_order=in_order)


def sample_bucket(rule: Rule, layout: Layout, key_layout: Layout, samples: Tensor) -> Bucket:
    """Whole samples as the blocks of one bucket.

    Shapes:
        samples int64 `[rows]`, on the host: their numbers.
    """
    query, owned = _sample_rows(layout, samples)
    key, key_valid = _sample_rows(key_layout, samples)
    bucket = Bucket(query=query, key=key, owned=owned)
    if isinstance(rule, Causal) and layout is key_layout and layout.places is None:
        # Padding stands at the end, where no real query looks.
        return Bucket(query=query, key=key, owned=owned, causal=True)
    if isinstance(rule, Full) or (isinstance(rule, Causal) and _at_the_end(layout, key_layout)):
        return bucket if _even(key_layout, samples) else replace(bucket, mask=key_valid[:, None, None, :])
    return masked(rule, layout, key_layout, bucket, key_valid)


def grouped(lengths: Tensor, key_lengths: Tensor) -> list[Tensor]:
    """Samples in buckets of similar size, so that padded area plus `_BUCKET_COST` for each bucket is smallest.

    Samples without queries or without keys are in no bucket.

    Shapes:
        lengths and key_lengths int64 `[samples]` → for each bucket int64 `[rows]`.
    """
    kept = ((lengths > 0) & (key_lengths > 0)).nonzero().flatten()
    if not len(kept):
        return []
    kept = kept[torch.argsort(torch.maximum(lengths, key_lengths)[kept], stable=True)]
    queries, keys = lengths[kept].cummax(0).values, key_lengths[kept].cummax(0).values
    # Cuts are worth trying at a few quantiles and the greatest jumps; the dynamic programme below is then trivial.
    n = len(kept)
    jumps = (queries * keys).diff().topk(min(8, n - 1)).indices + 1
    cuts = sorted({round(n * i / 16) for i in range(17)} | set(jumps.tolist()))
    best: list[tuple[float, list[int]]] = [(0.0, [])] + [(float("inf"), [])] * (len(cuts) - 1)
    for j in range(1, len(cuts)):
        area = int(queries[cuts[j] - 1]) * int(keys[cuts[j] - 1])
        for i in range(j):
            cost = best[i][0] + (cuts[j] - cuts[i]) * area + _BUCKET_COST
            if cost < best[j][0] and len(best[i][1]) < _MAX_BUCKETS:
                best[j] = (cost, [*best[i][1], cuts[j]])
    ends = best[-1][1]
    return [kept[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _at_the_end(layout: Layout, key_layout: Layout) -> bool:
    """Whether the queries are the last token of each sample, as in decoding, from which all others can be seen."""
    if layout.start is None or layout.places is not None or key_layout.places is not None:
        return False
    return bool(((layout.lengths == 1) & (layout.start.cpu() + 1 == key_layout.lengths)).all())


def _is_uniform(layout: Layout) -> bool:
    return layout.n_tokens > 0 and _even(layout, torch.arange(layout.n_samples))


def _even(layout: Layout, samples: Tensor) -> bool:
    lengths = layout.lengths[samples]
    return bool((lengths == lengths[0]).all())


def _sample_rows(layout: Layout, samples: Tensor) -> tuple[Tensor, Tensor]:
    lengths = layout.lengths[samples]
    first, on_device = layout.offsets[samples.to(layout.device)], lengths.to(layout.device, non_blocking=True)
    return token_rows(first, on_device, int(lengths.max()))
