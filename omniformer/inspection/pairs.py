"""How many pairs of tokens a rule allows."""

import torch

from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Rule

_ROWS = 1024  # queries looked at together: bounds the memory of long samples


def count_pairs(rule: Rule, layout: Layout, key_layout: Layout | None = None) -> int:
    """The number of (query, key) pairs of all samples that a rule allows, which attention pays for.

    Args:
        rule: who may attend to whom.
        layout: the samples of the queries.
        key_layout: the samples of the keys; the same by default.

    Example:
        >>> count_pairs(Causal(), Layout.from_lengths(3, 2))
        9
    """
    key_layout = layout if key_layout is None else key_layout
    queries, keys = layout.lengths, key_layout.lengths
    if isinstance(rule, Full):
        return int((queries * keys).sum())
    if isinstance(rule, Causal) and layout is key_layout and layout.start is None:
        return int((queries * (queries + 1) // 2).sum())
    pairs = rule.pairs(layout) if layout is key_layout else None
    if pairs is not None:
        query, key = layout.view(pairs[0]), layout.view(pairs[1])
        return int((rule.attend(query, key) & (query.sample == key.sample)).sum())
    return sum(_count(rule, layout, key_layout, sample) for sample in range(layout.n_samples))


def _count(rule: Rule, layout: Layout, key_layout: Layout, sample: int) -> int:
    """The pairs of one sample, a strip of queries at a time."""
    tokens, keys = (torch.arange(*each.offsets[sample : sample + 2].tolist()) for each in (layout, key_layout))
    total = 0
    for rows in tokens.split(_ROWS):
        allowed = rule.attend(layout.view(rows)[:, None], key_layout.view(keys)[None, :])
        total += int(allowed.expand(len(rows), len(keys)).sum())
    return total
