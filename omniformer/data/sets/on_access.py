"""Samples that are made when they are asked for."""

from collections.abc import Callable, Sequence
from typing import overload

from omniformer.data.source import Raw


class OnAccess(Sequence[Raw]):
    """A split whose samples are made one by one, each time they are read, so that none lies in memory before.

    Args:
        length: how many samples there are.
        make: the sample of a number from 0; the same number must always give the same sample. For data workers it must
            pickle: a method or a function of a module, not a lambda.

    Raises:
        IndexError: there is no sample of that number.

    Example:
        >>> split = OnAccess(3, lambda i: Raw(id=f"count/{i}", contents={"text": "x" * i}))
        >>> split[-1].contents["text"], [raw.id for raw in split[:2]]
        ('xx', ['count/0', 'count/1'])
    """

    def __init__(self, length: int, make: Callable[[int], Raw]) -> None:
        self.length = length
        self.make = make

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> Raw: ...
    @overload
    def __getitem__(self, index: slice) -> "list[Raw]": ...
    def __getitem__(self, index: int | slice) -> "Raw | list[Raw]":
        numbers = range(self.length)[index]  # counts from the end, and refuses what is out of range
        return self.make(numbers) if isinstance(numbers, int) else [self.make(number) for number in numbers]
