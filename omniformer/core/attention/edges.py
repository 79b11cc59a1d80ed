"""Attention along edges: time and memory linear in the number of pairs, whatever the size of the graph."""

import torch
from torch import Tensor
from torch.nn import functional as F

from omniformer.core.attention.reference import Score
from omniformer.core.biases import Bias
from omniformer.core.layout import Layout, View
from omniformer.core.rules import Rule


class Edges:
    """Softmax attention over a list of (query, key) pairs, sorted by query.

    Any rule that can name its pairs (`Rule.pairs`), any bias and score.

    Raises:
        ValueError: the rule cannot name its pairs.
    """

    name = "edges"

    def __init__(self, rule: Rule, layout: Layout, key_layout: Layout) -> None:
        pairs = rule.pairs(layout)
        if pairs is None or layout is not key_layout:
            raise ValueError(f"kernel 'edges' needs a rule that names its pairs, such as Neighbours; received {rule}")
        query, key = pairs
        kept = rule.attend(View(layout, query), View(layout, key)).expand_as(query)
        kept = kept & (layout.sample[query] == layout.sample[key])
        self.layout, self.query, self.key = layout, query[kept], key[kept]

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
        group = q.shape[1] // k.shape[1]
        k, v = (x.repeat_interleave(group, dim=1) if group > 1 else x for x in (k, v))
        scores = (q.index_select(0, self.query) * k.index_select(0, self.key)).sum(-1) * scale
        if score is not None:
            scores = score(scores)
        if bias is not None:
            scores = scores + bias(View(self.layout, self.query), View(self.layout, self.key)).transpose(0, 1)
        weights = F.dropout(_segment_softmax(scores, self.query, len(q)), dropout)
        out = torch.zeros_like(q)
        return out.index_add(0, self.query, weights[..., None] * v.index_select(0, self.key))


def _segment_softmax(scores: Tensor, segment: Tensor, n_segments: int) -> Tensor:
    """Softmax over the scores of each segment.

    Shapes:
        scores `[pairs, heads]`, segment int64 `[pairs]` → `[pairs, heads]`.
    """
    index = segment[:, None].expand_as(scores)
    top = scores.new_full((n_segments, scores.shape[1]), -torch.inf).scatter_reduce(0, index, scores.detach(), "amax")
    exp = (scores - top.index_select(0, segment)).exp()
    total = torch.zeros_like(top).index_add(0, segment, exp)
    return exp / total.index_select(0, segment)
