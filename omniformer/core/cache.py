"""Keys and values of earlier tokens, kept so that each new token costs one pass over itself."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from omniformer.core import checks
from omniformer.core.attention.plan import Plan, lower
from omniformer.core.held import HeldLayout
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory, tokens_of
from omniformer.core.ranges import Count, Natural
from omniformer.core.rules import UNBOUNDED, Rule
from omniformer.core.slots import Rows, Slots


class LayerCache:
    """The cache of one layer: keys and values of the tokens read so far, and of the memory that cross-attention reads.

    `state` is for layers that carry a few numbers from token to token instead of keys and values (recurrent layers,
    linear attention): named tensors with one row a sample, which the layer itself reads and replaces.
    """

    def __init__(self, owner: "Cache", k: Rows, v: Rows, memory: tuple[Tensor, Tensor] | None = None) -> None:
        self._owner, self._k, self._v, self._memory = owner, k, v, memory
        self.state: dict[str, Tensor] = {}

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Adds the new tokens' keys and values and returns those of all tokens still held.

        Both are kept without gradient. Where all samples hold equally many tokens, the result is a view of the cache
        and nothing is copied.

        Shapes:
            `[new tokens, kv_heads, head_dim]` → `[held tokens, kv_heads, head_dim]`, packed, or
            `[samples, tokens, kv_heads, head_dim]` where all hold equally many.
        """
        return self._k.append(k, self._owner.slots), self._v.append(v, self._owner.slots)

    def once(self, compute: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """The memory's keys and values, computed in the first call."""
        if self._memory is None:
            k, v = compute()
            self._memory = k.detach(), v.detach()
        return self._memory

    def _reorder(self, samples: Tensor, memory_tokens: Tensor | None) -> None:
        self._k.reorder(samples)
        self._v.reorder(samples)
        self.state = {name: rows[samples] for name, rows in self.state.items()}
        if self._memory is not None and memory_tokens is not None:
            k, v = self._memory
            self._memory = k[memory_tokens], v[memory_tokens]


class Cache:
    """What a core reads of a cache: the layers, and the layouts of one step.

    Args:
        new: the new tokens.
        seen: all tokens held once they are in.
    """

    layers: list[LayerCache]
    slots: Any = None
    """Where the new tokens are written and which are read, for `Rows`."""

    def __init__(self, new: Layout, seen: Layout) -> None:
        self.new, self.seen = new, seen
        self.memory: Memory | None = None
        self._given: Tensor | None = None

    def check(self, layout: Layout, n_layers: int) -> None:
        """Refuses what this cache did not prepare for.

        Raises:
            ValueError: `layout` is not the one that the cache announced last, or the decoder has another number of
                layers.
        """
        if len(self.layers) != n_layers:
            raise ValueError(f"this cache has n_layers={len(self.layers)}, the decoder has {n_layers}; build it alike")
        if layout is not self.new:
            raise ValueError(
                "the layout is not the one that this cache announced; pass the first of what cache.extend(lengths) gave"
            )

    def plan(self, rule: Rule, *, kernel: str = "auto", layer: int = 0) -> Plan:
        """A rule lowered for the tokens that were announced last.

        Args:
            rule: who may attend to whom.
            kernel: a kernel's name to insist on, or "auto".
            layer: the layer whose tokens are meant, where layers hold different ones (`MixedCache`).

        Raises:
            ValueError: the rule may ask for tokens that the cache forgets (`SlidingCache`).
        """
        return lower(rule, self.new, self.seen, kernel=kernel)

    def remember(self, memory: Memory | None) -> Memory | None:
        """The memory that cross-attention reads: the one given first, later calls need not give it again.

        Raises:
            ValueError: another memory is given later.
        """
        if memory is not None and self._given is None:
            self.memory, self._given = memory, memory.x
        if memory is not None and memory.x is not self._given:
            raise ValueError(
                "this cache keeps keys and values of the memory it was given first; make a new cache for another"
            )
        return self.memory


class KVCache(Cache):
    """The cache of all layers of a decoder; it grows, its memory doubling when it is full.

    A step of decoding is `layout, _ = cache.extend(lengths)`, then `core(x, layout, rule, cache=cache)`. Samples may
    have prompts of different lengths, and any of them may add no token in a step.

    Args:
        n_layers: layers of the decoder.
        n_samples: samples decoded side by side.
        device: where keys and values lie.

    Example:
        >>> cache = KVCache(n_layers=1, n_samples=2)
        >>> new, seen = cache.extend(torch.tensor([3, 1]))
        >>> new, seen = cache.extend(torch.tensor([1, 1]))
        >>> new.index.tolist(), seen.lengths.tolist()
        ([3, 1], [4, 2])
    """

    def __init__(self, *, n_layers: Count, n_samples: int, device: torch.device | str = "cpu") -> None:
        checks.counts(n_layers=n_layers)
        checks.not_negative(n_samples=n_samples)
        self.lengths = torch.zeros(n_samples, dtype=torch.long)
        self.device = torch.device(device)
        self.layers = [LayerCache(self, Rows(self._columns), Rows(self._columns)) for _ in range(n_layers)]
        nothing = Layout(lengths=self.lengths, device=self.device)
        super().__init__(nothing, nothing)
        self._facts: dict[str, Rows] = {}
        self._prefix: Tensor | None = None

    def extend(
        self,
        new_lengths: Tensor,
        positions: Tensor | None = None,
        *,
        prefix: Tensor | None = None,
        modality: Tensor | None = None,
        features: Mapping[str, Tensor] | None = None,
    ) -> tuple[Layout, Layout]:
        """Announces new tokens: their layout, and that of all tokens held once they are in.

        Args:
            new_lengths: tokens that each sample adds.
            positions: coordinates of the new tokens, as in `Layout`; like the next three, given in every step or never.
            prefix: length of each sample's prefix, with the first step.
            modality: modality of the new tokens.
            features: further named features of the new tokens.

        Shapes:
            new_lengths int64 `[samples]`; positions `[new tokens, axes]`; prefix int64 `[samples]`; modality int64
            `[new tokens]`.

        Raises:
            ValueError: the number of samples differs, or tokens do not fit in (`StaticCache`).
        """
        new_lengths = new_lengths.cpu().long()
        if len(new_lengths) != len(self.lengths):
            raise ValueError(f"this cache holds {len(self.lengths)} samples; received {len(new_lengths)} lengths")
        facts = {"positions": positions, "modality": modality, **(features or {})}
        facts = {name: fact.to(self.device) for name, fact in facts.items() if fact is not None}
        if facts.keys() != self._facts.keys() and self.lengths.any():
            raise ValueError(f"earlier steps gave {sorted(self._facts)} of each token, this one gives {sorted(facts)}")
        lengths, prefix = self._grown(new_lengths), self._prefix if prefix is None else prefix
        new = _layout(facts, lengths=new_lengths, start=self.lengths, prefix=prefix, device=self.device)
        self.slots = self._slots(self.lengths, new, lengths)
        self.new, self.lengths, self._prefix = new, lengths, prefix
        kept = {name: self._keep(name, fact) for name, fact in facts.items()}
        shape = {"lengths": self.slots.read_lengths, "places": self.slots.places, "prefix": prefix}
        self.seen = _layout(kept, **shape, device=self.device)
        return self.new, self.seen

    def reorder(self, samples: Tensor) -> None:
        """Makes sample i the former sample `samples[i]` in every layer, as beam search asks.

        Samples may repeat or be left out, so their number may change.

        Shapes:
            samples int64 `[new samples]`.
        """
        memory_tokens = None
        if self.memory is not None:
            memory_tokens = tokens_of(self.memory.layout, samples)
            self.memory = self.memory.take(samples)
        self.lengths = self.lengths[samples.cpu()]
        samples = samples.to(self.device)
        self._prefix = None if self._prefix is None else self._prefix[samples.to(self._prefix.device)]
        for layer in self.layers:
            layer._reorder(samples, memory_tokens)
        for fact in self._facts.values():
            fact.reorder(samples)

    def truncate(self, lengths: Tensor) -> None:
        """Forgets the last tokens of each sample, as if they had never been read.

        Args:
            lengths: tokens that each sample keeps.

        Shapes:
            lengths int64 `[samples]`.

        Raises:
            ValueError: a sample has fewer tokens, or a layer carries a state from token to token (recurrent layers,
                linear attention), which nobody can take back; the cache is then as it was.
        """
        lengths = lengths.cpu().long()
        if lengths.shape != self.lengths.shape or (lengths > self.lengths).any() or (lengths < 0).any():
            raise ValueError(f"this cache holds {self.lengths.tolist()} tokens; cannot keep {lengths.tolist()} of them")
        if stateful := [i for i, layer in enumerate(self.layers) if layer.state]:
            raise ValueError(
                f"layer {stateful[0]} carries a state from token to token, which cannot forget the last ones; read anew"
            )
        self.lengths = lengths

    def _grown(self, new_lengths: Tensor) -> Tensor:
        """The lengths once the new tokens are in."""
        return self.lengths + new_lengths

    def _keep(self, name: str, fact: Tensor) -> Tensor:
        """Stores a fact about the new tokens and returns that of all tokens held, packed."""
        kept = self._facts.setdefault(name, Rows(self._columns)).append(fact, self.slots)
        return kept.flatten(0, 1) if self.slots.equal else kept

    def _columns(self, needed: int) -> int:
        """How many columns to have so that `needed` fit, where they do not yet."""
        return max(2 * needed, 16)

    def _slots(self, start: Tensor, new: Layout, lengths: Tensor) -> Slots:
        """Where the new tokens are written, and which columns are read."""
        return Slots(start, new, lengths)


class StaticCache(KVCache):
    """A cache of fixed capacity, allocated whole at the first step: its memory never grows or moves.

    Args:
        n_layers: layers of the decoder.
        n_samples: samples decoded side by side.
        capacity: most tokens that a sample may have.
        device: where keys and values lie.

    Raises:
        ValueError: `capacity` is below 1; at `extend`, a sample would have more tokens than `capacity`. The cache is
            then as it was.

    Example:
        >>> cache = StaticCache(n_layers=1, n_samples=1, capacity=4)
        >>> _ = cache.extend(torch.tensor([3]))
        >>> cache.extend(torch.tensor([2]))
        Traceback (most recent call last):
            ...
        ValueError: sample 0 would have 5 tokens; this cache has capacity=4
    """

    def __init__(self, *, n_layers: Count, n_samples: int, capacity: int, device: torch.device | str = "cpu") -> None:
        super().__init__(n_layers=n_layers, n_samples=n_samples, device=device)
        checks.counts(capacity=capacity)
        self.capacity = capacity

    def _grown(self, new_lengths: Tensor) -> Tensor:
        grown = super()._grown(new_lengths)
        if len(grown) and int(grown.max()) > self.capacity:
            raise ValueError(
                f"sample {int(grown.argmax())} would have {int(grown.max())} tokens; this cache has "
                f"capacity={self.capacity}"
            )
        return grown

    def _columns(self, needed: int) -> int:
        return self.capacity


class SlidingCache(KVCache):
    """A cache of the last tokens and the very first ones ([Xiao et al. 2023](https://arxiv.org/abs/2309.17453),
    StreamingLLM): its memory does not depend on how much was read.

    It serves rules that look no further back, such as `Causal() & (Window(left=window - 1) | Sinks(sinks))`. Tokens
    keep the positions they were read with, so decoding equals one pass over everything under the same rule.

    Args:
        n_layers: layers of the decoder.
        n_samples: samples decoded side by side.
        window: last tokens kept of each sample, the new one included.
        sinks: first tokens kept of each sample.
        device: where keys and values lie.

    Raises:
        ValueError: `window` is below 1 or `sinks` below 0; at `plan`, the rule looks further back than `window` or has
            more sinks.

    Example:
        >>> cache = SlidingCache(n_layers=1, n_samples=1, window=2, sinks=1)
        >>> for _ in range(6):
        ...     new, seen = cache.extend(torch.tensor([1]))
        >>> sorted(seen.index.tolist())
        [0, 4, 5]
    """

    def __init__(
        self, *, n_layers: Count, n_samples: int, window: int, sinks: Natural = 0, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(n_layers=n_layers, n_samples=n_samples, device=device)
        if window < 1 or sinks < 0:
            raise ValueError(f"window={window} must be at least 1 and sinks={sinks} at least 0")
        self.window, self.sinks = window, sinks

    def plan(self, rule: Rule, *, kernel: str = "auto", layer: int = 0) -> Plan:
        reach = rule.reach()
        if reach.left >= self.window or reach.sinks > self.sinks or reach.scattered:
            left = "any number of" if reach.scattered or reach.left >= UNBOUNDED else reach.left
            raise ValueError(
                f"{rule} looks {left} tokens back and at {reach.sinks} first tokens; this cache keeps "
                f"window={self.window} with the new token and sinks={self.sinks}"
            )
        return super().plan(rule, kernel=kernel)

    def truncate(self, lengths: Tensor) -> None:
        raise ValueError("a sliding cache has overwritten what stood before its last tokens; use cache='growing'")

    def _columns(self, needed: int) -> int:
        return self.sinks + self.window

    def _slots(self, start: Tensor, new: Layout, lengths: Tensor) -> Slots:
        return Slots(start, new, lengths, sinks=self.sinks, window=self.window)


def _layout(facts: Mapping[str, Tensor], **shape: Any) -> Layout:
    """A layout with facts about its tokens."""
    features = {name: fact for name, fact in facts.items() if name not in ("positions", "modality")}
    return HeldLayout(positions=facts.get("positions"), modality=facts.get("modality"), features=features, **shape)
