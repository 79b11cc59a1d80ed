"""The cache of a decoder whose layers see differently far: those with a window forget what lies behind it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from omniformer.core.attention.plan import Plan
from omniformer.core.cache import Cache, KVCache, SlidingCache
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.rules import UNBOUNDED, Rule


class MixedCache(Cache):
    """One cache for each rule among the layers: a `SlidingCache` where it has a window, a `KVCache` where it looks back
    without end. Its memory grows with the layers of the second sort alone.

    A step is that of `KVCache`.

    Args:
        rules: the rule of each layer, as `Transformer.rules` gives them.
        n_samples: samples decoded side by side.
        device: where keys and values lie.

    Example:
        >>> from omniformer.core.rules import Causal, Window
        >>> cache = MixedCache([Causal() & Window(left=1), Causal()], n_samples=1)
        >>> for _ in range(5):
        ...     new, seen = cache.extend(torch.tensor([1]))
        >>> [part.seen.lengths.tolist() for part in cache.parts]
        [[2], [5]]
    """

    def __init__(self, rules: Sequence[Rule], *, n_samples: int, device: torch.device | str = "cpu") -> None:
        part_of = {rule: _part(rule, list(rules).count(rule), n_samples, device) for rule in dict.fromkeys(rules)}
        self.parts = tuple(part_of.values())
        self.part_of_layer = [part_of[rule] for rule in rules]
        unread = {id(part): iter(part.layers) for part in self.parts}
        self.layers = [next(unread[id(part)]) for part in self.part_of_layer]
        super().__init__(self.parts[0].new, self.parts[0].seen)

    @property
    def lengths(self) -> Tensor:
        """Tokens of each sample, those forgotten too."""
        return self.parts[0].lengths

    def extend(
        self, new_lengths: Tensor, positions: Tensor | None = None, **facts: Tensor | Mapping[str, Tensor] | None
    ) -> tuple[Layout, Layout]:
        """Announces new tokens to all parts: their layout, and that of all tokens that the first part holds then; see
        `KVCache.extend`.
        """
        given: Any = facts
        for part in self.parts:
            part.extend(new_lengths, positions, **given)
        self.new, self.seen = self.parts[0].new, self.parts[0].seen
        return self.new, self.seen

    def plan(self, rule: Rule, *, kernel: str = "auto", layer: int = 0) -> Plan:
        return self.part_of_layer[layer].plan(rule, kernel=kernel)

    def remember(self, memory: Memory | None) -> Memory | None:
        for part in self.parts:
            self.memory = part.remember(memory)
        return self.memory

    def reorder(self, samples: Tensor) -> None:
        """Makes sample i the former sample `samples[i]` in every layer; see `KVCache.reorder`."""
        for part in self.parts:
            part.reorder(samples)
        self.memory = self.parts[0].memory


def _part(rule: Rule, n_layers: int, n_samples: int, device: torch.device | str) -> KVCache:
    reach, size = rule.reach(), {"n_layers": n_layers, "n_samples": n_samples, "device": device}
    if reach.scattered or reach.left >= UNBOUNDED:
        return KVCache(**size)
    return SlidingCache(**size, window=reach.left + 1, sinks=reach.sinks)
