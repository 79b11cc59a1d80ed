"""Rules that look at the order of tokens: everybody, the past, a window, the first tokens."""

from dataclasses import dataclass

import torch
from torch import Tensor

from omniformer.core.layout import Layout, View
from omniformer.core.ranges import Natural
from omniformer.core.rules.base import UNBOUNDED, Reach, Rule


@dataclass(frozen=True)
class Full(Rule):
    """Everybody attends to everybody."""

    def attend(self, query: View, key: View) -> Tensor:
        return torch.ones((), dtype=torch.bool, device=query.token.device)

    def band(self) -> Reach:
        return self.reach()


@dataclass(frozen=True)
class Causal(Rule):
    """A token attends to itself and to those before it
    ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), 3.2.3).
    """

    def attend(self, query: View, key: View) -> Tensor:
        return key.index <= query.index

    def reach(self) -> Reach:
        return Reach(right=0)

    def band(self) -> Reach:
        return self.reach()


@dataclass(frozen=True)
class Self(Rule):
    """A token attends to itself."""

    def attend(self, query: View, key: View) -> Tensor:
        return key.index == query.index

    def reach(self) -> Reach:
        return Reach(left=0, right=0)

    def hides(self) -> bool:
        return False

    def band(self) -> Reach:
        return self.reach()

    def pairs(self, layout: Layout) -> Tensor:
        token = torch.arange(layout.n_tokens, device=layout.device)
        return torch.stack([token, token])

    def of_edges(self) -> bool:
        return True


@dataclass(frozen=True, repr=False)
class Window(Rule):
    """A token attends to those at most `left` places before and `right` places after it
    ([Beltagy et al. 2020](https://arxiv.org/abs/2004.05150), 3.1).

    Args:
        left: places before the token; unbounded by default.
        right: places after it; unbounded by default, so that `Causal() & Window(left=n)` reads as it should.

    Raises:
        ValueError: a side is negative.

    Example:
        >>> print(Window(left=1, right=0).draw(Layout.from_lengths(3)))
        ■ · ·
        ■ ■ ·
        · ■ ■
    """

    left: Natural = UNBOUNDED
    right: Natural = UNBOUNDED

    def __post_init__(self) -> None:
        if self.left < 0 or self.right < 0:
            raise ValueError(f"{self}: both sides must be at least 0")

    def attend(self, query: View, key: View) -> Tensor:
        distance = key.index - query.index
        if self.right >= UNBOUNDED:
            return distance >= -self.left
        if self.left >= UNBOUNDED:
            return distance <= self.right
        return (distance >= -self.left) & (distance <= self.right)

    def reach(self) -> Reach:
        return Reach(self.left, self.right)

    def band(self) -> Reach:
        return self.reach()

    def __repr__(self) -> str:
        sides = {"left": self.left, "right": self.right}
        return f"Window({', '.join(f'{side}={n}' for side, n in sides.items() if n < UNBOUNDED)})"


@dataclass(frozen=True)
class Sinks(Rule):
    """Everybody attends to the first tokens of the sample ([Xiao et al. 2023](https://arxiv.org/abs/2309.17453), 3.2).

    Args:
        n: how many tokens; the paper uses 4.

    Raises:
        ValueError: `n` is negative.

    Example:
        >>> print((Causal() & (Window(left=1) | Sinks(1))).draw(Layout.from_lengths(4)))
        ■ · · ·
        ■ ■ · ·
        ■ ■ ■ ·
        ■ · ■ ■
    """

    n: int = 4

    def __post_init__(self) -> None:
        if self.n < 0:
            raise ValueError(f"Sinks(n={self.n}): n must be at least 0")

    def attend(self, query: View, key: View) -> Tensor:
        return key.index < self.n

    def reach(self) -> Reach:
        return Reach(0, 0, sinks=self.n)


@dataclass(frozen=True)
class Prefix(Rule):
    """Everybody attends to the prefix of the sample, whose length the layout states
    ([Raffel et al. 2020](https://arxiv.org/abs/1910.10683), 3.2.1).

    `Causal() | Prefix()` is the prefix language model: image tokens read each other both ways, text follows causally.

    Raises:
        ValueError: at first use, when the layout states no prefix.
    """

    def attend(self, query: View, key: View) -> Tensor:
        return key.index < key.prefix

    def reach(self) -> Reach:
        return Reach(0, 0, scattered=True)

    def columns(self, layout: Layout) -> Tensor:
        key = layout.view()
        return key.index < key.prefix


@dataclass(frozen=True)
class Global(Rule):
    """Global tokens attend to everybody, and everybody attends to them
    ([Beltagy et al. 2020](https://arxiv.org/abs/2004.05150), 3.1).

    Args:
        first: how many leading tokens of each sample are global.
        feature: name of one of the layout's features; tokens where it is not zero are global too. None: no more tokens.

    Raises:
        ValueError: `first` is negative; or, at first use, the layout has no such feature.

    Example:
        >>> print(Global(first=1).draw(Layout.from_lengths(3)))
        ■ ■ ■
        ■ · ·
        ■ · ·
    """

    first: Natural = 0
    feature: str | None = None

    def __post_init__(self) -> None:
        if self.first < 0:
            raise ValueError(f"Global(first={self.first}): first must be at least 0")

    def attend(self, query: View, key: View) -> Tensor:
        return self._chosen(query) | self._chosen(key)

    def reach(self) -> Reach:
        return Reach(0, 0, scattered=True)

    def rows(self, layout: Layout) -> Tensor:
        return self._chosen(layout.view())

    def columns(self, layout: Layout) -> Tensor:
        return self._chosen(layout.view())

    def refusal(self) -> str | None:
        if self.feature is None:
            return None
        return f"{self} cannot be exported: it reads a feature of tokens that has no place at the border"

    def _chosen(self, view: View) -> Tensor:
        leading = view.index < self.first
        return leading if self.feature is None else leading | (view.feature(self.feature) != 0)
