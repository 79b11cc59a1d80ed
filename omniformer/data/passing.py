"""Samples of a stream, which has no length: an epoch takes the next so many of them."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import overload

from omniformer.batch import Sample
from omniformer.data.samples import Samples
from omniformer.data.source import Raw

LOOKED_AT = 10_000  # samples of a stream by which tokenizers and units of numbers are fitted


class Ahead(Sequence[Raw]):
    """The raw samples of a stream by number: those of the first epoch, and behind them all that follow.

    Who goes through all of them, to fit a tokenizer or the unit of a number, is given the first 10,000 at most.

    Args:
        length: samples of an epoch.
        make: the sample of a number from 0; for data workers it must pickle.

    Example:
        >>> raws = Ahead(2, lambda number: Raw(id=str(number), contents={}))
        >>> len(raws), raws[5].id
        (2, '5')
    """

    def __init__(self, length: int, make: Callable[[int], Raw]) -> None:
        self.length, self.make = length, make

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Raw]:
        return map(self.make, range(min(self.length, LOOKED_AT)))

    @overload
    def __getitem__(self, index: int) -> Raw: ...
    @overload
    def __getitem__(self, index: slice) -> list[Raw]: ...
    def __getitem__(self, index: int | slice) -> Raw | list[Raw]:
        return self.make(index) if isinstance(index, int) else list(islice(self, index.start, index.stop, index.step))


class Passing(Samples):
    """The examples of a stream: those of epoch e are the e-th so many.

    Args:
        samples: by number, from 0 without end.
        length: of an epoch.
        name: of the data set.
    """

    replaceable = False  # another sample would be far from those that are read

    def __init__(self, samples: Samples, length: int, name: str) -> None:
        self.samples, self.length_of_epoch, self.name = samples, length, name

    def __len__(self) -> int:
        return self.length_of_epoch

    def __call__(self, epoch: int, index: int) -> Sample:
        """One example as epoch `epoch` sees it."""
        return self.samples(epoch, epoch * len(self) + index)

    def many(self, keys: Sequence[tuple[int, int]]) -> list[Sample]:
        """The examples of some (epoch, index)."""
        return self.samples.many([(epoch, epoch * len(self) + index) for epoch, index in keys])

    def id(self, index: int) -> str:
        """What an example is called before it is read: its number in an epoch."""
        return f"{self.name}, sample {index} of an epoch"

    def named(self, epoch: int, index: int) -> str:
        """The number of an example in the stream."""
        return f"{self.name}, sample {epoch * len(self) + index}"
