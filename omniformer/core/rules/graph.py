"""Rules that follow the edges of a graph."""

from dataclasses import dataclass

import torch
from torch import Tensor

from omniformer.core.layout import Layout, View
from omniformer.core.ranges import Count
from omniformer.core.rules.base import Rule, split_pairs


@dataclass(frozen=True)
class Neighbours(Rule):
    """A token attends to the sources of the edges that point at it
    ([Veličković et al. 2018](https://arxiv.org/abs/1710.10903), 2.1).

    `Neighbours() | Self()` adds the token itself; without it, only a self loop among the edges does.

    Args:
        hops: how many edges away a source may be; with more than one, paths that lead back to the token do not count.

    Raises:
        ValueError: `hops` is less than 1; or, at first use, the layout has no edges, or queries and keys are not the
            same tokens.

    Example:
        >>> layout = Layout(lengths=torch.tensor([3]), edges=torch.tensor([[0, 1], [1, 2]]))
        >>> print(Neighbours(hops=2).draw(layout))
        · · ·
        ■ · ·
        ■ ■ ·
    """

    not_exported = "it follows the edges of the graph at hand"

    hops: Count = 1

    def __post_init__(self) -> None:
        if self.hops < 1:
            raise ValueError(f"Neighbours(hops={self.hops}): hops must be at least 1")

    def attend(self, query: View, key: View) -> Tensor:
        if query.layout is not key.layout:
            raise ValueError(
                "Neighbours follows edges within one sequence; queries and keys come from two (a memory, or a cache)"
            )
        known = self._ended(query.layout)
        # Sizes as tensors, never as numbers of Python: a compiler would take those of the first batch for all.
        wanted = query.token * query.layout.offsets[-1] + key.token
        return known[torch.searchsorted(known, wanted)] == wanted

    def pairs(self, layout: Layout) -> Tensor:
        numbers = self._numbers(layout)  # which refuses a layout without edges
        return layout.memo_of_graph(("pairs", self), lambda: split_pairs(numbers, layout))

    def of_edges(self) -> bool:
        return True

    def _ended(self, layout: Layout) -> Tensor:
        """The same numbers and behind them one that no pair has, so that every search ends inside."""

        def ended() -> Tensor:
            numbers = self._numbers(layout)
            return torch.cat([numbers, numbers.new_full((1,), torch.iinfo(numbers.dtype).max)])

        return layout.memo(f"ended neighbours {self.hops}", ended)

    def _numbers(self, layout: Layout) -> Tensor:
        """Each pair once, as one number with the query first, sorted: by query, then by key."""
        edges = layout.edges
        if edges is None:
            raise ValueError("Neighbours needs edges, and the layout has none; pass Layout(edges=...) or another rule")
        return layout.memo_of_graph(("neighbours", self.hops), lambda: _within(edges, layout, self.hops))


def _within(edges: Tensor, layout: Layout, hops: int) -> Tensor:
    """Pairs joined by a path of at most `hops` edges, as sorted numbers `query · tokens + key`."""
    n_tokens = layout.n_tokens
    one = torch.unique(edges[1] * n_tokens + edges[0])
    if hops == 1 or not len(one):
        return one
    query, key = split_pairs(one, layout)
    degree = torch.bincount(query, minlength=n_tokens)
    start = degree.cumsum(0) - degree
    reached = frontier = one
    for _ in range(hops - 1):
        # Each pair (query, middle) becomes one pair for each edge into the middle.
        far_query, middle = split_pairs(frontier, layout)
        repeats = degree[middle]
        nth = torch.arange(int(repeats.sum()), device=edges.device)
        nth = nth - torch.repeat_interleave(repeats.cumsum(0) - repeats, repeats)
        far_query, middle = far_query.repeat_interleave(repeats), middle.repeat_interleave(repeats)
        far_key = key[start[middle] + nth]
        found = torch.unique((far_query * n_tokens + far_key)[far_query != far_key])
        frontier = found[~torch.isin(found, reached, assume_unique=True)]
        reached = torch.cat([reached, frontier])
    return reached.sort().values
