"""Sets that are a table of molecules, one row each with what is to be predicted of it."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

from torch import Tensor

from omniformer.data.sets.molecules import Molecules
from omniformer.data.source import Raw, Source, Split


class MoleculeTable(Source):
    """Molecules in the order of their table, split by the last digit of the row; those that RDKit cannot read are in no
    split.

    A subclass sets `prefix`, with which ids begin, and `target`, the name of what is predicted, and reads its files in
    `_table`.
    """

    modalities = ("graph",)

    prefix: ClassVar[str]
    target: ClassVar[str]

    @property
    def n_dropped(self) -> int:
        """How many rows hold no molecule that RDKit can read, and are in no split."""
        return self._read[1].valid.count(False)

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in the order of the table."""
        return self._splits[name]

    @abstractmethod
    def _table(self) -> tuple[Tensor, Molecules]:
        """What is to be predicted of each row, and its molecule."""

    @cached_property
    def _read(self) -> tuple[Tensor, Molecules]:
        return self._table()

    @cached_property
    def _splits(self) -> dict[Split, list[Raw]]:
        targets, molecules = self._read
        splits: dict[Split, list[Raw]] = {"train": [], "val": [], "test": []}
        for row in range(len(molecules)):
            if molecules.valid[row]:
                name = tenths(row)
                contents = {"graph": molecules.graph(row)}
                raw = Raw(id=f"{self.prefix}/{name}/{row}", contents=contents, targets={self.target: targets[row]})
                splits[name].append(raw)
        return splits


def tenths(row: int) -> Split:
    """The split of a row where rows with the last digit 0 test, those with 1 validate, and the others train.

    Example:
        >>> [tenths(row) for row in (20, 21, 22)]
        ['test', 'val', 'train']
    """
    return "test" if row % 10 == 0 else "val" if row % 10 == 1 else "train"
