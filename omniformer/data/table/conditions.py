"""What rows must hold to be in a split: `take < 5`, `row % 10 == 0 and speaker != theo`."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omniformer.data.table.roles import cell
from omniformer.data.table.rows import Row

ROW, PART = "row", "part"  # the number of a row in its file, from 0, and what stands behind `::` of that
NTH, FILE = "nth", "split"  # the number of a row among those of its class in its file, and the split of that file
OUT = "out"  # in the place of a split: such rows are left out
_PART = re.compile(r"\s*([^\s%=!<>]+(?: [^\s%=!<>]+)*)\s*(?:%\s*(\d+)\s*)?(==|!=|<=|>=|<|>)\s*(.+?)\s*")
_COMPARES: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One cell, compared: `column % modulus sign value`; of numbers by size, of other cells as texts."""

    column: str
    modulus: int | None
    sign: str
    value: str

    def holds(self, row: Row) -> bool:
        """Whether it is so of a row.

        Raises:
            ValueError: numbers are asked for, and the cell holds none.
        """
        found = cell(row, self.column)
        if self.modulus is None and self.sign in ("==", "!=") and not isinstance(found, int | float):
            return _COMPARES[self.sign](str(found).strip(), self.value)
        if isinstance(found, bool) and self.value.lower() in ("true", "false"):
            return _COMPARES[self.sign](found, self.value.lower() == "true")
        try:
            left, right = float(found), float(self.value)  # pyright: ignore[reportArgumentType]
        except (TypeError, ValueError):
            raise ValueError(f"column {self.column!r} holds {found!r}, which is no number to compare") from None
        return _COMPARES[self.sign](left if self.modulus is None else left % self.modulus, right)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The split of each row by what it holds: the first whose condition holds.

    Args:
        parts: of each split, or `out` for rows that are left out, the comparisons that must all hold.

    Example:
        >>> rule = Conditions.of({"test": "take < 5", "val": "take < 10 and speaker == theo"})
        >>> [rule.split({"take": take, "speaker": "theo"}) for take in ("0", "7", "12")]
        ['test', 'val', None]
    """

    parts: Mapping[str, Sequence[Comparison]]

    @classmethod
    def of(cls, written: Mapping[str, str]) -> "Conditions":
        """Reads conditions as a user writes them.

        Raises:
            ValueError: one is of another form, or for no split; says which.
        """
        if strange := sorted(written.keys() - {"train", "val", "test", OUT}):
            raise ValueError(f"splits has a condition for {strange[0]!r}; accepted are train, val, test and {OUT}")
        return cls({name: [_read(part) for part in str(each).split(" and ")] for name, each in written.items()})

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are compared."""
        return tuple(dict.fromkeys(each.column for part in self.parts.values() for each in part))

    def split(self, row: Row) -> Any:
        """The split of a row; None where no condition holds."""
        holding = (name for name, part in self.parts.items() if all(each.holds(row) for each in part))
        return next(holding, None)


def _read(written: str) -> Comparison:
    if not (match := _PART.fullmatch(written)):
        raise ValueError(
            f"the condition {written!r} cannot be read; write a column, a sign and a value, such as 'take < 5' or "
            "'row % 10 == 0', several with ' and ' between them"
        )
    column, modulus, sign, value = match.groups()
    return Comparison(column, int(modulus) if modulus else None, sign, value)
