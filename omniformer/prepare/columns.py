"""Some rows of a table, column by column."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from omniformer.data.table.roles import cell
from omniformer.data.table.rows import BadRowError, Joined, Row
from omniformer.data.table.targets import number
from omniformer.prepare.sampling import some

LOOKED_AT = 20_000  # rows whose cells are looked at
_HEAVY = 50  # of columns that hold whole files
_CONTENTS = ("bytes", "path", "array", "n_nodes", "edges")  # keys of cells that are one content


@dataclass(frozen=True, kw_only=True)
class Column:
    """What was seen of a column.

    Args:
        name: of the column; nested ones have a dot.
        by_row: the cell of each row that was looked at; None for an empty one.
    """

    name: str
    by_row: Sequence[Any]

    @property
    def rows(self) -> int:
        """How many rows were looked at."""
        return len(self.by_row)

    @cached_property
    def cells(self) -> list[Any]:
        """Those that are not empty."""
        return [each for each in self.by_row if each is not None]

    @property
    def missing(self) -> int:
        """How many cells are empty."""
        return self.rows - len(self.cells)

    @cached_property
    def keys(self) -> list[str]:
        """What tells one cell from another."""
        return [each if isinstance(each, str) else json.dumps(each, default=repr) for each in self.cells]

    @cached_property
    def distinct(self) -> int:
        """How many different cells there are."""
        return len(set(self.keys))

    @cached_property
    def numbers(self) -> list[float] | None:
        """All cells as numbers, NaN for words such as NA; None where one is none, or all are NaN."""
        if not self.cells or any(isinstance(each, bool | list | Mapping | bytes) for each in self.cells):
            return None
        try:
            found = [number(each) for each in self.cells]
        except ValueError:
            return None
        return found if any(each == each for each in found) else None

    @cached_property
    def kept(self) -> str:
        """The name of the only type of all cells; empty where there are several."""
        kinds = {type(each).__name__ for each in self.cells}
        return kinds.pop() if len(kinds) == 1 else ""


def columns_of(rows: Joined) -> dict[str, Column]:
    """The columns, each with the cells of at most 20,000 rows, or 50 where cells are whole files."""
    heavy = rows.heavy()
    light = [name for name in rows.columns if name not in heavy]
    chosen = frozenset(some(len(rows), LOOKED_AT))
    seen: list[Row] = [
        row for i, row in enumerate(rows.each(light)) if i in chosen and not isinstance(row, BadRowError)
    ]
    few = [_row(rows, i) for i in some(len(rows), _HEAVY)] if heavy else []
    found: dict[str, Column] = {}
    for name in rows.columns:
        for inner in _inner(name, few if name in heavy else seen):
            source = few if name in heavy else seen
            found[inner] = Column(name=inner, by_row=[cell(row, inner) for row in source])
    return found


def _row(rows: Joined, index: int) -> Row:
    try:
        return rows.row(index)
    except BadRowError:  # told with all others when the table is read
        return {}


def _inner(name: str, rows: Sequence[Row]) -> list[str]:
    """The column itself, or those that are nested in it."""
    first: Any = next((each for row in rows if (each := row.get(name)) is not None), None)
    if not isinstance(first, Mapping) or any(key in first for key in _CONTENTS):
        return [name]
    return [f"{name}.{key}" for key in first]
