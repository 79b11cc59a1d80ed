"""Rows of another table, each found by what a cell says: the picture of a question, the item of a rating."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from omniformer.data.table.contents import shown
from omniformer.data.table.roles import cell
from omniformer.data.table.rows import BadRowError, Row, Rows, all_of


class LookedUp(Rows):
    """For each row of a table, the row of another one that its cell names, to stand beside it (a left join).

    Where the other table has a column of that name too, rows go together whose cells there are equal; otherwise a cell
    is the number of a row, from 0.

    Args:
        rows: whose cells name.
        table: what is named.
        column: which cells; of the other table it is left out.

    Raises:
        ValueError: there is no such column, or the other table holds the same there twice; names it. A cell that names
            no row is told when the row is read.

    Example:
        >>> from omniformer.data.table.columnar import ArrowRows
        >>> import pyarrow
        >>> asked = ArrowRows(pyarrow.table({"item": ["b", "a", "b"]}), "asked")
        >>> items = ArrowRows(pyarrow.table({"item": ["a", "b"], "price": [3, 5]}), "items")
        >>> [row["price"] for row in LookedUp(asked, items, "item").each(["price"])]
        [5, 3, 5]
    """

    def __init__(self, rows: Rows, table: Rows, column: str) -> None:
        if column not in rows.columns:
            raise ValueError(f"{rows.file} has no column {column!r} to look up by; it has {', '.join(rows.columns)}")
        self.rows, self.table, self.column = rows, table, column
        self.file, self.name, self.inner = table.file, table.name, table.inner
        self.wrong, self.slow = table.wrong, table.slow

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(name for name in self.table.columns if name != self.column)

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, index: int) -> Row:
        return self.table.row(self._place(index))

    def each(self, columns: Sequence[str]) -> Iterator[Row | BadRowError]:
        # Cells that are whole files are read one by one; of all others each row of the table is read once.
        known = None if self.heavy() & {*columns} else list(self.table.each(columns)) if columns else []
        for index in range(len(self)):
            try:
                place = self._place(index)
                yield self.table.row(place) if known is None else known[place] if columns else {}
            except BadRowError as error:
                yield error

    def heavy(self) -> frozenset[str]:
        return self.table.heavy()

    def read_from(self) -> list[Path] | None:
        return all_of([self.rows, self.table])

    def class_names(self, column: str) -> tuple[str, ...]:
        return self.table.class_names(column)

    def facts(self) -> Mapping[str, Any]:
        return self.table.facts()

    def _place(self, index: int) -> int:
        """The number of the row that a row names."""
        if (place := int(self._places[index])) >= 0:
            return place
        said = cell(self.rows.row(index), self.column)
        raise BadRowError(
            f"{self.rows.where(index)}, column {self.column!r}: {shown(said)} is no row of {self.table.file}, "
            f"which has {len(self.table)}"
        )

    @cached_property
    def _places(self) -> np.ndarray:
        """Of each row, the number of the row that it names; -1 where there is none."""
        number = self._numbers
        cells = (
            None if isinstance(row, BadRowError) else cell(row, self.column) for row in self.rows.each([self.column])
        )
        return np.array([-1 if each is None else number.get(_key(each), -1) for each in cells], dtype=np.int64)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """The number of a row by what names it."""
        if self.column not in self.table.columns:
            return {str(index): index for index in range(len(self.table))}
        found: dict[str, int] = {}
        for index, row in enumerate(self.table.each([self.column])):
            key = None if isinstance(row, BadRowError) else cell(row, self.column)
            if key is not None and found.setdefault(_key(key), index) != index:
                raise ValueError(f"{self.table.where(index)}, column {self.column!r}: {shown(key)} is there twice")
        return found


def _key(said: Any) -> str:
    """What a cell says, alike from tables of texts and of numbers."""
    return str(int(said) if isinstance(said, float) and said.is_integer() else said).strip()
