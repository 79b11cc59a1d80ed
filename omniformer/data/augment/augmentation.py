"""What changes samples at random in training: the contract, and how several changes become one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from omniformer_tokenizers import Tokenizer
from torch import Generator

from omniformer.core import checks
from omniformer.core.ranges import Share

Augment = Callable[[Any, Generator], Any]
"""Any function will do: of a raw content, or of tokens, and what all its randomness comes from."""


class Augmentation(ABC):
    """A random change of one raw content, or of the tokens of one; `many` may do it faster for several."""

    @abstractmethod
    def __call__(self, raw: Any, generator: Generator) -> Any:
        """The changed content; all randomness comes from `generator`, and what was given stays as it is."""

    def many(self, raws: Sequence[Any], generators: Sequence[Generator]) -> list[Any]:
        """The same change of several contents, each with its own generator: equal to one call each."""
        return [self(raw, generator) for raw, generator in zip(raws, generators, strict=True)]

    def before(self, tokenizer: Tokenizer) -> "Augmentation":
        """The same change of what this tokenizer reads next: itself, unless it takes something over from there."""
        return self

    @staticmethod
    def of(augment: Augment) -> "Augmentation":
        """A function as an augmentation; one that is one already as it is.

        Example:
            >>> Augmentation.of(lambda raw, generator: raw[::-1])([1, 2], torch.Generator())
            [2, 1]
        """
        return augment if isinstance(augment, Augmentation) else _Function(augment)


class _Function(Augmentation):
    def __init__(self, function: Augment) -> None:
        self.function = function

    def __call__(self, raw: Any, generator: Generator) -> Any:
        return self.function(raw, generator)


class Chain(Augmentation):
    """Several changes, one after the other.

    Args:
        parts: the changes by names of your choice, in their order; the names are what a command line reaches them by.

    Example:
        >>> Chain({"twice": lambda raw, _: raw * 2, "more": lambda raw, _: raw + 1})(5, torch.Generator())
        11
    """

    def __init__(self, parts: Mapping[str, Augment]) -> None:
        self.parts = {name: Augmentation.of(part) for name, part in parts.items()}

    def __call__(self, raw: Any, generator: Generator) -> Any:
        return self.many([raw], [generator])[0]

    def many(self, raws: Sequence[Any], generators: Sequence[Generator]) -> list[Any]:
        changed = list(raws)
        for part in self.parts.values():
            changed = part.many(changed, generators)
        return changed

    def before(self, tokenizer: Tokenizer) -> Augmentation:
        return Chain({name: part.before(tokenizer) for name, part in self.parts.items()})


class Sometimes(Augmentation):
    """A change that some samples are spared.

    Args:
        part: the change.
        p: how likely a sample is changed.

    Raises:
        ValueError: `p` is no share.

    Example:
        >>> Sometimes(lambda raw, _: raw + 1, p=0)(5, torch.Generator())
        5
    """

    def __init__(self, part: Augment, *, p: Share = 0.5) -> None:
        checks.share(p=p)
        self.part = Augmentation.of(part)
        self.p = p

    def __call__(self, raw: Any, generator: Generator) -> Any:
        return self.many([raw], [generator])[0]

    def many(self, raws: Sequence[Any], generators: Sequence[Generator]) -> list[Any]:
        changed = list(raws)
        chosen = [i for i, chance in enumerate(generators) if float(torch.rand((), generator=chance)) < self.p]
        found = self.part.many([raws[i] for i in chosen], [generators[i] for i in chosen])
        for place, each in zip(chosen, found, strict=True):
            changed[place] = each
        return changed

    def before(self, tokenizer: Tokenizer) -> Augmentation:
        return Sometimes(self.part.before(tokenizer), p=self.p)
