"""What every format of a table comes down to: rows that are read when they are asked for."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
NOT_UTF8 = (  # of a file, what is wrong and what to do
    "not UTF-8; save it so, or convert what Windows wrote: iconv -f cp1252 -t utf-8 OLD > NEW (-f utf-16 for what "
    "Excel calls Unicode text)"
)


class BadRowError(ValueError):
    """A row that cannot be read; the message names file and row."""


class Rows(ABC):
    """The rows of one file, each a mapping from the name of a column to its cell; None is an empty cell.

    Rows pickle, so that data workers can have them: what is open stays behind, and is opened again.
    """

    file: Path | str
    name: str  # of the file, as short as tells it from the others; part of the ids of rows
    wrong: Sequence[BadRowError] = ()  # rows that were passed over where the file was opened
    slow: Sequence[str] = ()  # what makes rows in any order slow to read, and what to do; told where they are read so
    inner: str = ""  # what is taken of the file, where it holds several tables

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in the order of the file."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of rows."""

    @abstractmethod
    def row(self, index: int) -> Row:
        """One row with all its cells.

        Raises:
            BadRowError: it cannot be read.
        """

    def each(self, columns: Sequence[str]) -> Iterator["Row | BadRowError"]:
        """All rows in order with at least some of their cells, in little memory; the error of one that cannot be read
        is in its place.
        """
        for index in range(len(self)):
            try:
                yield self.row(index)
            except BadRowError as error:
                yield error

    def place(self, index: int) -> str:
        """Where a row stands, for messages and ids.

        Example:
            >>> Rows.place(Rows, 0)
            'row 1'
        """
        return f"row {index + 1}"

    def where(self, index: int) -> str:
        """File and place of a row, for messages."""
        return f"{self.file}, {self.place(index)}"

    @property
    def folder(self) -> Path | None:
        """Where the file lies, from which paths in its cells count."""
        return self.file.parent if isinstance(self.file, Path) else None

    def heavy(self) -> frozenset[str]:
        """Columns whose cells are whole files, which are not looked at before they are needed."""
        return frozenset()

    def read_from(self) -> list[Path] | None:
        """The files whose content alone decides what the rows are; None where more does."""
        return None

    def class_names(self, column: str) -> tuple[str, ...]:
        """The names that a column of class numbers stands for, where the format says so."""
        return ()

    def facts(self) -> Mapping[str, Any]:
        """What a tokenizer must know of the cells, where the format says so: see `Source.facts`."""
        return {}


class FileRows(Rows):
    """Rows that are files: each is opened by itself, and read as far as its cells are wanted."""

    def row(self, index: int) -> Row:
        return self._row(index, self.columns)

    def each(self, columns: Sequence[str]) -> Iterator["Row | BadRowError"]:
        for index in range(len(self)):
            try:
                yield self._row(index, columns)
            except BadRowError as error:
                yield error

    @abstractmethod
    def _row(self, index: int, columns: Sequence[str]) -> Row:
        """Some cells of a row.

        Raises:
            BadRowError: it cannot be read.
        """


class Joined(Rows):
    """The rows of several files, one file after the other.

    Args:
        parts: the files, at least one.
        file: what they are called together, in messages.
    """

    def __init__(self, parts: Sequence[Rows], file: str) -> None:
        self.parts = list(parts)
        self.file = self.name = file
        self.ends = list(accumulate(map(len, self.parts)))

    @property
    def wrong(self) -> Sequence[BadRowError]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Those of all files."""
        return [error for part in self.parts for error in part.wrong]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that any of the files has."""
        return tuple(dict.fromkeys(chain.from_iterable(part.columns for part in self.parts)))

    def __len__(self) -> int:
        return self.ends[-1]

    def row(self, index: int) -> Row:
        part, inner = self.part(index)
        return part.row(inner)

    def each(self, columns: Sequence[str]) -> Iterator[Row | BadRowError]:
        for part in self.parts:
            yield from part.each([name for name in columns if name in part.columns])

    def part(self, index: int) -> tuple[Rows, int]:
        """The file of a row, and the number of the row in it."""
        number = bisect_right(self.ends, index)
        return self.parts[number], index - (self.ends[number - 1] if number else 0)

    def where(self, index: int) -> str:
        part, inner = self.part(index)
        return part.where(inner)

    def heavy(self) -> frozenset[str]:
        return frozenset(chain.from_iterable(part.heavy() for part in self.parts))

    def read_from(self) -> list[Path] | None:
        return all_of(self.parts)

    def class_names(self, column: str) -> tuple[str, ...]:
        return next((names for part in self.parts if (names := part.class_names(column))), ())

    def facts(self) -> Mapping[str, Any]:
        return {key: value for part in self.parts for key, value in part.facts().items()}


def all_of(rows: Sequence[Rows]) -> list[Path] | None:
    """The files from which several tables are read; None where more decides of one of them."""
    files = [each.read_from() for each in rows]
    return None if None in files else [file for each in files for file in each or ()]
