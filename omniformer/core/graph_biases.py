"""Additive attention scores that know the graph: distances along edges, and what the edges are."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.attention.rows import token_rows
from omniformer.core.biases import Bias, looked_up
from omniformer.core.layout import Layout, View
from omniformer.core.ranges import Count, Natural, Positive


class ShortestPath(Bias):
    """A learned number for each head and distance along edges ([Ying et al. 2021](https://arxiv.org/abs/2106.05234),
    Graphormer, 3.1.2).

    It reads the layout's `pairs["shortest_path"]` (-1 where there is no path); a layout without has its distances found
    from the edges, once for each batch. Distances from key to query count, along the direction in which attention
    follows edges. Longer distances than `max_distance` share a number, and so do pairs without a path.

    Args:
        n_heads: number of query heads.
        max_distance: largest distance told apart.
        init_std: deviation of the numbers at the start; 0.02 as in Graphormer.

    Raises:
        ValueError: `max_distance` is below 1; at first use, the layout has neither distances nor edges, or queries and
            keys are not the same tokens.

    Example:
        >>> layout = Layout(lengths=torch.tensor([3]), edges=torch.tensor([[0, 1], [1, 2]]))
        >>> ShortestPath(n_heads=2)(layout.view()[:, None], layout.view()[None, :]).shape
        torch.Size([2, 3, 3])
    """

    not_exported = "it reads distances in a graph, which depend on the graph at hand"

    no_weight_decay = ("table",)

    def __init__(self, *, n_heads: Count, max_distance: Count = 8, init_std: Positive = 0.02) -> None:
        super().__init__()
        checks.counts(n_heads=n_heads)
        checks.positive(init_std=init_std)
        if max_distance < 1:
            raise ValueError(f"max_distance={max_distance} must be at least 1")
        self.max_distance, self.init_std = max_distance, init_std
        # One number for each of 0 .. max_distance, one for all beyond, one for pairs without a path.
        self.table = nn.Parameter(torch.empty(max_distance + 3, n_heads))
        self.reset_parameters()

    def forward(self, query: View, key: View) -> Tensor:
        layout = _same_layout(query, key, "ShortestPath")
        distances = layout.pairs.get("shortest_path")
        if distances is None:
            distances = layout.memo("shortest_path", lambda: shortest_paths(layout))
        lengths = layout.lengths.to(layout.device)
        start = layout.memo("first pair", lambda: (lengths**2).cumsum(0) - lengths**2)
        sample = query.sample
        # Pairs of two samples, which some kernels compute and throw away, must not fall outside the list.
        pair = (start[sample] + query.index * lengths[sample] + key.index).clamp(max=max(len(distances) - 1, 0))
        if not len(distances):
            # No distance to look up; the table still gets a gradient, which is zero.
            return looked_up(self.table, torch.zeros_like(pair)) * 0.0
        distance = distances[pair].long()
        none = torch.full_like(distance, self.max_distance + 2)
        return looked_up(self.table, torch.where(distance < 0, none, distance.clamp(max=self.max_distance + 1)))

    def reset_parameters(self) -> None:
        nn.init.normal_(self.table, std=self.init_std)


class EdgeBias(Bias):
    """A learned number for each head and edge, from what the edge is; zero where there is no edge, and the sum where
    several edges join the same two tokens.

    Args:
        n_heads: number of query heads.
        edge_vocab_sizes: number of values of each categorical field of an edge, the first columns of the edge features.
        edge_features: continuous numbers of an edge, the columns after them.
        init_std: deviation of the weights at the start.

    Raises:
        ValueError: an edge has neither fields nor features; at first use, the layout has no edges or edge features,
            they have another number of columns, a category lies outside its vocabulary, or queries and keys are not the
            same tokens.

    Example:
        >>> edges, kinds = torch.tensor([[0, 1], [1, 2]]), torch.tensor([[0], [3]])
        >>> layout = Layout(lengths=torch.tensor([3]), edges=edges, edge_features=kinds)
        >>> bias = EdgeBias(n_heads=2, edge_vocab_sizes=[4])
        >>> (bias(layout.view()[:, None], layout.view()[None, :])[0] != 0).int().tolist()
        [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    """

    not_exported = "it reads the edges of the graph at hand"

    no_weight_decay = ("table",)

    def __init__(
        self,
        *,
        n_heads: Count,
        edge_vocab_sizes: Sequence[Count] = (),
        edge_features: Natural = 0,
        init_std: Positive = 0.02,
    ) -> None:
        super().__init__()
        checks.counts(n_heads=n_heads)
        checks.positive(init_std=init_std)
        checks.not_negative(edge_features=edge_features)
        if not edge_vocab_sizes and edge_features < 1:
            raise ValueError(
                f"edge_vocab_sizes={list(edge_vocab_sizes)} and edge_features={edge_features}: one must be given"
            )
        checks.counts(**{f"edge_vocab_sizes[{i}]": size for i, size in enumerate(edge_vocab_sizes)})
        self.sizes, self.init_std = tuple(edge_vocab_sizes), init_std
        # All fields' categories one below the other, then one row for each continuous number.
        self.table = nn.Parameter(torch.empty(sum(self.sizes) + edge_features, n_heads))
        self.reset_parameters()

    def forward(self, query: View, key: View) -> Tensor:
        layout = _same_layout(query, key, "EdgeBias")
        pairs, edge_pair = layout.memo("joined pairs", lambda: _joined(layout))
        scores = edge_rows(self.table, self.sizes, layout, "EdgeBias")
        by_pair = scores.new_zeros(len(pairs) + 1, scores.shape[1]).index_add(0, edge_pair, scores)
        wanted = query.token * layout.n_tokens + key.token
        place = torch.searchsorted(pairs, wanted)
        found = (
            pairs[place.clamp(max=len(pairs) - 1)] == wanted
            if len(pairs)
            else torch.zeros_like(place, dtype=torch.bool)
        )
        # The last row stands for "no edge" and stays zero.
        return looked_up(by_pair, torch.where(found, place, len(pairs)))

    def reset_parameters(self) -> None:
        nn.init.normal_(self.table, std=self.init_std)


def edge_rows(table: Tensor, sizes: Sequence[int], layout: Layout, reader: str) -> Tensor:
    """A row for each edge: the sum of those of its categories, and of those of its numbers times these.

    Args:
        table: all fields' categories one below the other, then one row for each continuous number.
        sizes: number of values of each field.
        layout: whose edges.
        reader: who asks, for messages.

    Shapes:
        table `[categories + numbers, width]` → `[edges, width]`.

    Raises:
        ValueError: the layout has no edge features, they have another number of columns, or a category lies outside its
            vocabulary.
    """
    features, n_fields, n_numbers = layout.edge_features, len(sizes), len(table) - sum(sizes)
    if features is None:
        raise ValueError(f"{reader} needs edge features, and the layout has none; pass Layout(edge_features=...)")
    columns = features[:, None] if features.ndim == 1 else features
    if columns.shape[1] != n_fields + n_numbers:
        raise ValueError(
            f"edges have {columns.shape[1]} features; this {reader} has {n_fields} fields and {n_numbers} features"
        )
    numbers = columns[:, n_fields:].to(table.dtype) @ table[sum(sizes) :]
    if not n_fields:
        return numbers
    fields = columns[:, :n_fields].long()
    limits = torch.tensor(sizes, device=fields.device)
    if len(fields) and fields.device.type == "cpu" and bool(((fields < 0) | (fields >= limits)).any()):
        raise ValueError(f"an edge has a category outside edge_vocab_sizes={list(sizes)}: {fields.amax(0).tolist()}")
    return numbers + table[fields + limits.cumsum(0) - limits].sum(1)


def shortest_paths(layout: Layout) -> Tensor:
    """Number of edges from key to query on the shortest path, for every pair of tokens of a sample; -1 without a path.

    All samples take their steps together, as products of padded adjacency matrices: right for graphs of up to some
    hundreds of nodes. Larger ones deserve distances computed once, beside the data.

    Shapes:
        int64 `[sum of squared lengths]`, row by row (query) and sample after sample.

    Raises:
        ValueError: the layout has no edges.

    Example:
        >>> layout = Layout(lengths=torch.tensor([3]), edges=torch.tensor([[0, 1], [1, 2]]))
        >>> shortest_paths(layout).view(3, 3).tolist()
        [[0, -1, -1], [1, 0, -1], [2, 1, 0]]
    """
    if layout.edges is None:
        raise ValueError(
            "shortest paths need edges, and the layout has none; pass Layout(edges=...) or pairs['shortest_path']"
        )
    longest = int(layout.lengths.max()) if layout.n_samples else 0
    source, target = layout.edges
    place = torch.arange(layout.n_tokens, device=layout.device) - layout.offsets[layout.sample]
    step = torch.zeros(layout.n_samples, longest, longest, device=layout.device)
    step[layout.sample[target], place[target], place[source]] = 1.0
    reached = torch.eye(longest, device=layout.device).expand_as(step).contiguous()
    distance = torch.where(reached > 0, 0, -1)
    for steps in range(1, longest):
        further = ((step @ reached) > 0).float().maximum(reached)
        fresh = further > reached
        if not bool(fresh.any()):
            break
        distance = torch.where(fresh, steps, distance)
        reached = further
    _, valid = token_rows(layout.offsets[:-1], layout.lengths.to(layout.device))
    return distance[valid[:, :, None] & valid[:, None, :]]


def _joined(layout: Layout) -> tuple[Tensor, Tensor]:
    """The pairs (query, key) that an edge joins, each as one number and sorted, and which of them each edge joins."""
    if layout.edges is None:
        raise ValueError("EdgeBias needs edges, and the layout has none; pass Layout(edges=..., edge_features=...)")
    pairs, edge_pair = torch.unique(layout.edges[1] * layout.n_tokens + layout.edges[0], return_inverse=True)
    return pairs, edge_pair


def _same_layout(query: View, key: View, name: str) -> Layout:
    if query.layout is not key.layout:
        raise ValueError(f"{name} joins tokens of one sequence; queries and keys come from two (a memory, or a cache)")
    return query.layout
