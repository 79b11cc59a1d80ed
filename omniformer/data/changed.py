"""Samples that are changed when they are read."""

from collections.abc import Callable, Sequence
from typing import overload

from omniformer.data.source import Raw


class Changed(Sequence[Raw]):
    """The samples of another sequence, each changed when it is asked for.

    Args:
        raws: the samples.
        change: what becomes of each.

    Example:
        >>> from dataclasses import replace
        >>> raws = [Raw(id="a", contents={"text": "one"}), Raw(id="b", contents={"text": "two"})]
        >>> [raw.id for raw in Changed(raws, lambda raw: replace(raw, id=raw.id.upper()))[:]]
        ['A', 'B']
    """

    def __init__(self, raws: Sequence[Raw], change: Callable[[Raw], Raw]) -> None:
        self.raws, self.change = raws, change

    def __len__(self) -> int:
        return len(self.raws)

    @overload
    def __getitem__(self, index: int) -> Raw: ...
    @overload
    def __getitem__(self, index: slice) -> "list[Raw]": ...
    def __getitem__(self, index: int | slice) -> "Raw | list[Raw]":
        if isinstance(index, slice):
            return [self.change(raw) for raw in self.raws[index]]
        return self.change(self.raws[index])
