"""Who may attend to whom, said once and lowered to whatever kernel is fastest.

A rule is a predicate over pairs of tokens of one sample. It never sees two samples at once: that samples do not attend
to each other is the layout's law. Rules combine with `&`, `|` and `~`:

    Causal() & Window(left=256)              sliding window (Mistral)
    Causal() & (Window(left=256) | Sinks(4)) the same with sink tokens (StreamingLLM)
    Causal() | Prefix()                      prefix language model
    Neighbours() | Self()                    graph attention with self loops
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from omniformer.core.layout import Layout, View

UNBOUNDED = 2**62


@dataclass(frozen=True)
class Reach:
    """A bound on the pairs that a rule allows, from which a kernel learns where it need not look.

    Every allowed pair has `-left <= key.index - query.index <= right`, or `key.index < sinks`. Rules may allow fewer.
    """

    left: int = UNBOUNDED
    right: int = UNBOUNDED
    sinks: int = 0

    @property
    def bounded(self) -> bool:
        """Whether the band has a finite width on both sides."""
        return self.left < UNBOUNDED and self.right < UNBOUNDED


class Rule:
    """Decides which key tokens a query token may attend to. True always means "takes part".

    A subclass implements `attend`. It may also narrow `reach` (so that windows cost linear time) or give `pairs` (so that
    graphs do): both are upper bounds, `attend` stays the truth.
    """

    def attend(self, query: View, key: View) -> Tensor:
        """Whether `query` may attend to `key`, for views that broadcast against each other.

        Shapes:
            bool, the broadcast shape of the two views or one that broadcasts to it.
        """
        raise NotImplementedError

    def reach(self) -> Reach:
        """How far from a query its keys can lie."""
        return Reach()

    def pairs(self, layout: Layout) -> Tensor | None:
        """All pairs that may be allowed, as a list, where the rule can name them without trying every pair.

        Shapes:
            int64 `[2, pairs]`: query tokens, key tokens; without repeats. None when there is no such list.
        """
        return None

    def __and__(self, other: "Rule") -> "Rule":
        return _And(self, other)

    def __or__(self, other: "Rule") -> "Rule":
        return _Or(self, other)

    def __invert__(self) -> "Rule":
        return _Not(self)

    def mask(self, layout: Layout, key_layout: Layout | None = None) -> Tensor:
        """The rule as a dense mask over all tokens, samples kept apart: the oracle of tests and pictures.

        Shapes:
            bool `[query tokens, key tokens]`.
        """
        query, key = layout.view()[:, None], (key_layout or layout).view()[None, :]
        return (query.sample == key.sample) & self.attend(query, key)

    def draw(self, layout: Layout) -> str:
        """A small picture of the rule on a layout: one row a query, `■` where it attends.

        Example:
            >>> print(Causal().draw(Layout.from_lengths(3)))
            ■ · ·
            ■ ■ ·
            ■ ■ ■
        """
        return "\n".join(" ".join("■" if attends else "·" for attends in row) for row in self.mask(layout).tolist())


@dataclass(frozen=True)
class Full(Rule):
    """Everybody attends to everybody."""

    def attend(self, query: View, key: View) -> Tensor:
        return torch.ones((), dtype=torch.bool, device=query.token.device)


@dataclass(frozen=True)
class Causal(Rule):
    """A token attends to itself and to those before it ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), 3.2.3)."""

    def attend(self, query: View, key: View) -> Tensor:
        return key.index <= query.index

    def reach(self) -> Reach:
        return Reach(right=0)


@dataclass(frozen=True)
class Self(Rule):
    """A token attends to itself."""

    def attend(self, query: View, key: View) -> Tensor:
        return key.index == query.index

    def reach(self) -> Reach:
        return Reach(left=0, right=0)

    def pairs(self, layout: Layout) -> Tensor:
        token = torch.arange(layout.n_tokens, device=layout.device)
        return torch.stack([token, token])


@dataclass(frozen=True)
class Window(Rule):
    """A token attends to those at most `left` places before and `right` places after it.

    `right` is unbounded when not given, so that `Causal() & Window(left=n)` reads as it should.

    Raises:
        ValueError: a side is negative.
    """

    left: int = UNBOUNDED
    right: int = UNBOUNDED

    def __post_init__(self) -> None:
        if self.left < 0 or self.right < 0:
            raise ValueError(f"Window(left={self.left}, right={self.right}): both sides must be at least 0")

    def attend(self, query: View, key: View) -> Tensor:
        distance = key.index - query.index
        return (distance >= -self.left) & (distance <= self.right)

    def reach(self) -> Reach:
        return Reach(self.left, self.right)


@dataclass(frozen=True)
class Prefix(Rule):
    """Everybody attends to the prefix of the sample, whose length the layout states
    ([Raffel et al. 2020](https://arxiv.org/abs/1910.10683), 3.2.1).

    `Causal() | Prefix()` is the prefix language model: image tokens read each other both ways, text follows causally.
    """

    def attend(self, query: View, key: View) -> Tensor:
        return key.index < key.prefix


@dataclass(frozen=True)
class Neighbours(Rule):
    """A token attends to the sources of the edges that point at it; `Neighbours() | Self()` adds the token itself.

    Raises:
        ValueError: at first use, when the layout has no edges.
    """

    def attend(self, query: View, key: View) -> Tensor:
        keys = self._keys(query.layout)
        wanted = query.token * query.layout.n_tokens + key.token
        if not len(keys):
            return torch.zeros_like(wanted, dtype=torch.bool)
        place = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
        return keys[place] == wanted

    def pairs(self, layout: Layout) -> Tensor:
        return _split_keys(self._keys(layout), layout)

    @staticmethod
    def _keys(layout: Layout) -> Tensor:
        """Each edge once, as one number with the target first, sorted: by query, then by key."""
        edges = layout.edges
        if edges is None:
            raise ValueError("Neighbours needs edges, and the layout has none; pass Layout(edges=...) or another rule")
        return layout.memo("neighbours", lambda: torch.unique(edges[1] * layout.n_tokens + edges[0]))


def _split_keys(keys: Tensor, layout: Layout) -> Tensor:
    n_tokens = max(layout.n_tokens, 1)
    return torch.stack([keys // n_tokens, keys % n_tokens])


@dataclass(frozen=True)
class _And(Rule):
    first: Rule
    second: Rule

    def attend(self, query: View, key: View) -> Tensor:
        return self.first.attend(query, key) & self.second.attend(query, key)

    def reach(self) -> Reach:
        # (A or sinks) and (B or sinks') lies within (A and B) or the longer sinks.
        a, b = self.first.reach(), self.second.reach()
        return Reach(min(a.left, b.left), min(a.right, b.right), max(a.sinks, b.sinks))

    def pairs(self, layout: Layout) -> Tensor | None:
        # The shorter list is enough: the kernel asks `attend` about each pair of it anyway.
        lists = [pairs for rule in (self.first, self.second) if (pairs := rule.pairs(layout)) is not None]
        return min(lists, key=lambda pairs: pairs.shape[1], default=None)

    def __str__(self) -> str:
        return f"({self.first} & {self.second})"


@dataclass(frozen=True)
class _Or(Rule):
    first: Rule
    second: Rule

    def attend(self, query: View, key: View) -> Tensor:
        return self.first.attend(query, key) | self.second.attend(query, key)

    def reach(self) -> Reach:
        a, b = self.first.reach(), self.second.reach()
        return Reach(max(a.left, b.left), max(a.right, b.right), max(a.sinks, b.sinks))

    def pairs(self, layout: Layout) -> Tensor | None:
        first, second = self.first.pairs(layout), self.second.pairs(layout)
        if first is None or second is None:
            return None
        query, key = torch.cat([first, second], dim=1)
        return _split_keys(torch.unique(query * layout.n_tokens + key), layout)

    def __str__(self) -> str:
        return f"({self.first} | {self.second})"


@dataclass(frozen=True)
class _Not(Rule):
    rule: Rule

    def attend(self, query: View, key: View) -> Tensor:
        return ~self.rule.attend(query, key)

    def __str__(self) -> str:
        return f"~{self.rule}"
