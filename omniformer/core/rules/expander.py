"""A few random links for each token, so that any two are a few steps apart, whatever the graph."""

from dataclasses import dataclass

import torch
from torch import Tensor

from omniformer.core.layout import Layout, View
from omniformer.core.ranges import Count, Seed
from omniformer.core.rules.base import Rule, split_pairs
from omniformer.core.rules.graph import Neighbours
from omniformer.core.rules.order import Self

_NONE = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Expander(Rule):
    """A token attends to those beside it on `cycles` random cycles through all tokens of its sample, two for each.

    Such graphs are nearly always expanders ([Friedman 2004](https://arxiv.org/abs/cs/0405020)): word of any token
    reaches all others in a number of layers that grows with the logarithm of the tokens, and the pairs grow with the
    tokens, not with their square ([Shirzad et al. 2023](https://arxiv.org/abs/2303.06147), Exphormer).

    The draw depends on the seed, the cycle and the number of tokens of the sample, and on nothing else: the same sample
    meets the same links in every batch, epoch and process. For encoders, as `RandomBlocks`.

    Args:
        cycles: how many; 2 give nearly every token four links.
        seed: of the draw.

    Raises:
        ValueError: `cycles` is less than 1; or, at use, queries and keys are not the same tokens.

    Example:
        >>> from omniformer.core.layout import Layout
        >>> Expander(cycles=1).mask(Layout.from_lengths(6)).sum(1).tolist()
        [2, 2, 2, 2, 2, 2]
    """

    not_exported = "it draws links by the length of each sample"

    cycles: Count = 2
    seed: Seed = 0

    def __post_init__(self) -> None:
        if self.cycles < 1:
            raise ValueError(f"Expander(cycles={self.cycles}): cycles must be at least 1")

    def attend(self, query: View, key: View) -> Tensor:
        if query.layout is not key.layout:
            raise ValueError(
                "Expander links tokens of one sequence; queries and keys come from two (a memory, or a cache)"
            )
        known = torch.cat([numbers := self._numbers(query.layout), numbers.new_full((1,), _NONE)])
        wanted = query.token * query.layout.offsets[-1] + key.token
        return known[torch.searchsorted(known, wanted)] == wanted

    def pairs(self, layout: Layout) -> Tensor:
        return split_pairs(self._numbers(layout), layout)

    def _numbers(self, layout: Layout) -> Tensor:
        """Each pair once, as one number with the query first, sorted."""
        return layout.memo(f"expander {self.cycles} {self.seed}", lambda: self._drawn(layout))

    def _drawn(self, layout: Layout) -> Tensor:
        tokens = layout.view()
        sample, length = tokens.sample, tokens.length
        last = layout.offsets[1:][sample] - 1  # of the sample of each place
        place = torch.arange(layout.n_tokens, device=sample.device)
        behind = torch.where(place == last, layout.offsets[:-1][sample], place + 1)
        found = []
        for cycle in range(self.cycles):
            order = torch.argsort(_mixed(tokens.index, length, cycle, self.seed))
            order = order[torch.argsort(sample[order], stable=True)]  # by sample, at random within
            found += [torch.stack([order, order[behind]]), torch.stack([order[behind], order])]
        query, key = torch.cat(found, 1)
        apart = query != key  # a token by itself is beside itself
        return torch.unique(query[apart] * layout.n_tokens + key[apart])


def exphormer(*, cycles: Count = 2, seed: Seed = 0) -> Rule:
    """Exphormer's pattern: nodes attend to their neighbours, themselves and a few random nodes
    ([Shirzad et al. 2023](https://arxiv.org/abs/2303.06147), 3), for graphs too large for all pairs.

    Args:
        cycles: random cycles through all nodes.
        seed: of the draw.

    Example:
        >>> print(exphormer(cycles=1))
        ((Neighbours(hops=1) | Self()) | Expander(cycles=1, seed=0))
    """
    return Neighbours() | Self() | Expander(cycles, seed)


def _mixed(index: Tensor, length: Tensor, cycle: int, seed: int) -> Tensor:
    """Numbers without order, one for each place of a sample (after splitmix64, Steele et al. 2014)."""
    start = (seed + 1) * 0x1B873593CC9E2D51 + cycle * 0x2545F4914F6CDD1D
    x = index * 0x9E3779B97F4A7C1 + length * 0x632BE59BD9B4E019 + start % 2**63
    x = (x ^ (x >> 30)) * 0x3F58476D1CE4E5B9
    x = (x ^ (x >> 27)) * 0x14D049BB133111EB
    return x ^ (x >> 31)
