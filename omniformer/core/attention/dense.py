"""Attention over whole samples: a view when they are equally long, else buckets padded inside attention only."""

from dataclasses import replace
from itertools import groupby

import torch
from torch import Tensor

from omniformer.core.attention.blocks import Blocks, Bucket, masked
from omniformer.core.attention.rows import token_rows
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Rule

# Costs in units of one (query, key) pair. Measured on 2 CPU cores (AVX-512), 4 heads of 32, float32, both passes,
# where a pair took 25 ns: 0.15 ms for another bucket, 0.1 ms for another view, 2 us to gather a token and its output.
_BUCKET_COST = 6_000
_VIEW_COST = 4_000
_TOKEN_COST = 80
_MAX_BUCKETS = 6


class Dense(Blocks):
    """Scaled-dot-product attention on blocks of samples of similar length.

    Neighbours of equal length are a free view, one bucket for each such stretch; on a CPU that is what long samples of
    different lengths are, too. Where calling PyTorch so often would cost more, as with many short samples, they are
    sorted into a few buckets, so that the padded area plus a cost for each bucket is smallest, and gathered; only
    attention ever sees padding. Every rule and bias; no (query, key) block is built for `Full` and `Causal`, which
    PyTorch's fused kernels know.
    """

    name = "dense"

    def __init__(self, rule: Rule, layout: Layout, key_layout: Layout) -> None:
        groups, in_order = laid(layout, key_layout)
        if in_order:
            buckets = _views(rule, layout, key_layout, groups)
        else:
            buckets = [sample_bucket(rule, layout, key_layout, group) for group in groups]
        super().__init__(layout, key_layout, buckets, in_order=in_order)


def laid(layout: Layout, key_layout: Layout) -> tuple[list[Tensor], bool]:
    """The samples of each bucket, and whether the buckets are views of the tokens as they lie.

    Shapes:
        for each bucket int64 `[rows]`.

    Example:
        >>> laid(Layout.from_lengths(100, 100, 120), Layout.from_lengths(100, 100, 120))
        ([tensor([0, 1]), tensor([2])], True)
    """
    lengths, key_lengths = layout.lengths, key_layout.lengths
    views = _stretches(lengths, key_lengths)
    if views is not None and len(views) == 1:
        return [torch.tensor(views[0])], True
    groups = grouped(lengths, key_lengths)
    if views is None or layout.device != torch.device("cpu"):  # what a view costs elsewhere is not measured
        return groups, False
    gathering = area(groups, lengths, key_lengths) + _BUCKET_COST * len(groups) + _TOKEN_COST * layout.n_tokens
    viewing = int((lengths * key_lengths).sum()) + _VIEW_COST * len(views)
    return ([torch.tensor(each) for each in views], True) if viewing <= gathering else (groups, False)


def area(groups: list[Tensor], lengths: Tensor, key_lengths: Tensor) -> int:
    """Pairs that buckets of these samples compute, padding included."""
    return sum(len(group) * int(lengths[group].max()) * int(key_lengths[group].max()) for group in groups)


def _stretches(lengths: Tensor, key_lengths: Tensor) -> list[list[int]] | None:
    """Neighbouring samples of one size; None where there are none, or where some have queries or keys only."""
    sizes = list(zip(lengths.tolist(), key_lengths.tolist(), strict=True))
    if not any(map(all, sizes)) or any(any(each) != all(each) for each in sizes):
        return None
    held = [sample for sample, size in enumerate(sizes) if all(size)]
    return [list(alike) for _, alike in groupby(held, lambda sample: sizes[sample])]


def sample_bucket(rule: Rule, layout: Layout, key_layout: Layout, samples: Tensor) -> Bucket:
    """Whole samples as the blocks of one bucket.

    Shapes:
        samples int64 `[rows]`, on the host: their numbers.
    """
    query, owned = _sample_rows(layout, samples)
    key, key_valid = _sample_rows(key_layout, samples)
    valid = None if _even(key_layout, samples) else key_valid
    return _ruled(rule, layout, key_layout, Bucket(query=query, key=key, owned=owned), valid)


def _views(rule: Rule, layout: Layout, key_layout: Layout, groups: list[Tensor]) -> list[Bucket]:
    """Neighbouring samples of one size as buckets, whose tokens are those that lie there."""
    rows = _stretches_of(layout, groups)
    key_rows = rows if layout is key_layout else _stretches_of(key_layout, groups)
    true = torch.ones((), dtype=torch.bool, device=layout.device)
    return [
        _ruled(rule, layout, key_layout, Bucket(query=query, key=key, owned=true.expand_as(query)), None)
        for query, key in zip(rows, key_rows, strict=True)
    ]


def _stretches_of(layout: Layout, groups: list[Tensor]) -> list[Tensor]:
    """The numbers of all tokens, stretch by stretch, each `[samples, tokens of one]`."""
    sizes = layout.lengths.tolist()
    shapes = [(len(group), sizes[int(group[0])]) for group in groups]
    every = torch.arange(layout.n_tokens, device=layout.device).split([rows * n for rows, n in shapes])
    return [each.view(shape) for each, shape in zip(every, shapes, strict=True)]


def _ruled(rule: Rule, layout: Layout, key_layout: Layout, bucket: Bucket, key_valid: Tensor | None) -> Bucket:
    """The bucket with what the rule asks of it; all keys are valid where nothing says which."""
    if isinstance(rule, Causal) and layout is key_layout and layout.places is None:
        # Padding stands at the end, where no real query looks.
        return replace(bucket, causal=True)
    if isinstance(rule, Full) or (isinstance(rule, Causal) and _at_the_end(layout, key_layout)):
        return bucket if key_valid is None else replace(bucket, mask=key_valid[:, None, None, :])
    if key_valid is None:
        key_valid = torch.ones((), dtype=torch.bool, device=layout.device).expand_as(bucket.key)
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
    ends = zip(layout.lengths.tolist(), layout.start.tolist(), key_layout.lengths.tolist(), strict=True)
    return all(n == 1 and start + 1 == held for n, start, held in ends)


def _even(layout: Layout, samples: Tensor) -> bool:
    return len(set(layout.lengths[samples].tolist())) == 1


def _sample_rows(layout: Layout, samples: Tensor) -> tuple[Tensor, Tensor]:
    lengths = layout.lengths[samples]
    first, on_device = layout.offsets[samples.to(layout.device)], lengths.to(layout.device, non_blocking=True)
    return token_rows(first, on_device, int(lengths.max()))
