"""What a rule is, and how rules combine."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from omniformer.core.layout import Layout, View
from omniformer.core.ranges import Natural

UNBOUNDED = 2**62


@dataclass(frozen=True)
class Reach:
    """A bound on the pairs that a rule allows, from which a kernel learns where it need not look.

    Every allowed pair has `-left <= key.index - query.index <= right`, or `key.index < sinks`; or, where `scattered` is
    true, it is one of those that the rule's `rows`, `columns` and `blocks` name. Rules may allow fewer.
    """

    left: Natural = UNBOUNDED
    right: Natural = UNBOUNDED
    sinks: Natural = 0
    scattered: bool = False

    @property
    def bounded(self) -> bool:
        """Whether the band has a finite width on both sides."""
        return self.left < UNBOUNDED and self.right < UNBOUNDED


class KeyBlocks(Protocol):
    """Blocks of keys that a block of queries may attend to, wherever they lie."""

    @property
    def size(self) -> int:
        """Tokens of a block."""
        ...

    def chosen(self, query_block: Tensor, n_blocks: Tensor) -> Tensor:
        """The key blocks of each query block in a sample of `n_blocks`; repeats are harmless.

        Shapes:
            `[...]`, `[...]` → `[..., chosen]`.
        """
        ...


class Rule(ABC):
    """Decides which key tokens a query token may attend to. True always means "takes part".

    A subclass implements `attend`. It may also narrow `reach` (so that windows cost linear time) or give `pairs` (so
    that graphs do): these are upper bounds, `attend` stays the truth.
    """

    not_exported: ClassVar[str | None] = None
    """Why programs of padded rows cannot follow the rule; None where they can."""

    @abstractmethod
    def attend(self, query: View, key: View) -> Tensor:
        """Whether `query` may attend to `key`, for views that broadcast against each other.

        Shapes:
            bool, the broadcast shape of the two views or one that broadcasts to it.
        """

    def reach(self) -> Reach:
        """How far from a query its keys can lie."""
        return Reach()

    def rows(self, layout: Layout) -> Tensor | None:
        """Queries that may look beyond the reach, anywhere in their sample.

        Shapes:
            bool `[tokens]`; None when there are none.
        """
        return None

    def columns(self, layout: Layout) -> Tensor | None:
        """Keys that may be looked at from beyond the reach, by every query of their sample.

        Shapes:
            bool `[tokens]`; None when there are none.
        """
        return None

    def blocks(self) -> tuple[KeyBlocks, ...]:
        """Blocks of keys beyond the reach that blocks of queries may look at."""
        return ()

    def hides(self) -> bool:
        """Whether what the rule forbids is to stay unknown, also by way of a third token that reads everything.

        So it is with the future and with other modalities; a window or a graph only spares work. A rule that reaches no
        later token hides the future unless it says otherwise.
        """
        reach = self.reach()
        return reach.right == 0 and not reach.sinks and not reach.scattered

    def band(self) -> Reach | None:
        """The reach, where the rule allows every pair in it and none besides; else None."""
        return None

    def pairs(self, layout: Layout) -> Tensor | None:
        """All pairs that may be allowed, as a list, where the rule can name them without trying every pair.

        Shapes:
            int64 `[2, pairs]`: query tokens, key tokens; without repeats. None when there is no such list.
        """
        return None

    def of_edges(self) -> bool:
        """Whether `pairs` are all that it allows and no others, and say the same of every layout with these edges: an
        edge list is then made of them without asking `attend`, and once for a graph that comes again.
        """
        return False

    def refusal(self) -> str | None:
        """Why programs of padded rows cannot follow this rule or one inside it, as a sentence; None where they can."""
        if self.not_exported is not None:
            return f"{type(self).__name__} cannot be exported: {self.not_exported}"
        inner = (each.refusal() for each in vars(self).values() if isinstance(each, Rule))
        return next((said for said in inner if said is not None), None)

    def __and__(self, other: "Rule") -> "Rule":
        return _And(self, other)

    def __or__(self, other: "Rule") -> "Rule":
        return _Or(self, other)

    def __invert__(self) -> "Rule":
        return _Not(self)

    def sees_ahead(self) -> bool:
        """Whether a token may attend to the one behind it, which no edge joins to it and no prefix gives.

        Example:
            >>> from omniformer.core.rules import Causal, Full, Prefix
            >>> Full().sees_ahead(), (Causal() | Prefix()).sees_ahead()
            (True, False)
        """
        two = Layout(
            lengths=torch.tensor([2]),
            positions=torch.zeros(2, 1),
            modality=torch.zeros(2, dtype=torch.long),
            prefix=torch.tensor([0]),
            edges=torch.zeros(2, 0, dtype=torch.long),
        )
        return bool(self.mask(two)[0, 1])

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
            >>> from omniformer.core.rules import Causal
            >>> print(Causal().draw(Layout.from_lengths(3)))
            ■ · ·
            ■ ■ ·
            ■ ■ ■
        """
        return "\n".join(" ".join("■" if attends else "·" for attends in row) for row in self.mask(layout).tolist())


@dataclass(frozen=True)
class _And(Rule):
    first: Rule
    second: Rule

    def attend(self, query: View, key: View) -> Tensor:
        return self.first.attend(query, key) & self.second.attend(query, key)

    def reach(self) -> Reach:
        # (A or extras) and (B or extras') lies within (A and B) or extras or extras'.
        a, b = self.first.reach(), self.second.reach()
        return Reach(min(a.left, b.left), min(a.right, b.right), max(a.sinks, b.sinks), a.scattered or b.scattered)

    def rows(self, layout: Layout) -> Tensor | None:
        return _either(self.first.rows(layout), self.second.rows(layout))

    def columns(self, layout: Layout) -> Tensor | None:
        return _either(self.first.columns(layout), self.second.columns(layout))

    def blocks(self) -> tuple[KeyBlocks, ...]:
        return self.first.blocks() + self.second.blocks()

    def band(self) -> Reach | None:
        return None if self.first.band() is None or self.second.band() is None else self.reach()

    def pairs(self, layout: Layout) -> Tensor | None:
        # The shorter list is enough: the kernel asks `attend` about each pair of it anyway.
        lists = [pairs for rule in (self.first, self.second) if (pairs := rule.pairs(layout)) is not None]
        return min(lists, key=lambda pairs: pairs.shape[1], default=None)

    def hides(self) -> bool:
        return self.first.hides() or self.second.hides()

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
        return Reach(max(a.left, b.left), max(a.right, b.right), max(a.sinks, b.sinks), a.scattered or b.scattered)

    def rows(self, layout: Layout) -> Tensor | None:
        return _either(self.first.rows(layout), self.second.rows(layout))

    def columns(self, layout: Layout) -> Tensor | None:
        return _either(self.first.columns(layout), self.second.columns(layout))

    def blocks(self) -> tuple[KeyBlocks, ...]:
        return self.first.blocks() + self.second.blocks()

    def pairs(self, layout: Layout) -> Tensor | None:
        first, second = self.first.pairs(layout), self.second.pairs(layout)
        if first is None or second is None:
            return None

        def either() -> Tensor:
            query, key = torch.cat([first, second], dim=1)
            return split_pairs(torch.unique(query * layout.n_tokens + key), layout)

        alone = self.of_edges() and layout.edges is not None
        return layout.memo_of_graph(("pairs", self), either) if alone else either()

    def of_edges(self) -> bool:
        return self.first.of_edges() and self.second.of_edges()

    def hides(self) -> bool:
        return self.first.hides() or self.second.hides()

    def __str__(self) -> str:
        return f"({self.first} | {self.second})"


@dataclass(frozen=True)
class _Not(Rule):
    rule: Rule

    def attend(self, query: View, key: View) -> Tensor:
        return ~self.rule.attend(query, key)

    def hides(self) -> bool:
        # What is left of a rule that hides, and the opposite of one, hide too: `~Causal()` keeps the past unknown.
        return self.rule.hides()

    def __invert__(self) -> Rule:
        return self.rule

    def __str__(self) -> str:
        return f"~{self.rule}"


def any_of(rules: Mapping[str, Rule]) -> Rule:
    """The rules joined by `|`, for configurations, where rules have names so that one of them can be overridden.

    Args:
        rules: by any names.

    Example:
        >>> from omniformer.core.rules import Causal, Prefix
        >>> print(any_of({"left": Causal(), "prefix": Prefix()}))
        (Causal() | Prefix())
    """
    return reduce(lambda first, second: first | second, rules.values())


def all_of(rules: Mapping[str, Rule]) -> Rule:
    """The rules joined by `&`, for configurations, where rules have names so that one of them can be overridden.

    Args:
        rules: by any names.

    Example:
        >>> from omniformer.core.rules import Causal, Window
        >>> print(all_of({"causal": Causal(), "near": Window(left=2, right=0)}))
        (Causal() & Window(left=2, right=0))
    """
    return reduce(lambda first, second: first & second, rules.values())


def split_pairs(numbers: Tensor, layout: Layout) -> Tensor:
    """Pairs `[2, pairs]` from numbers `query · tokens + key`."""
    n_tokens = max(layout.n_tokens, 1)
    return torch.stack([numbers // n_tokens, numbers % n_tokens])


def _either(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return first | second
