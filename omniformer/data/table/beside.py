"""Files side by side as one table: row i of each is one row."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from omniformer.data.table.rows import BadRowError, Row, Rows, all_of


class Beside(Rows):
    """The columns of several files of as many rows; a name that is taken gets a number, `line 2`.

    Args:
        files: at least two.

    Raises:
        ValueError: they have different numbers of rows; names them.
    """

    def __init__(self, files: Sequence[Rows]) -> None:
        self.files = list(files)
        self.file, self.name = files[0].file, files[0].name
        self.inner = next((file.inner for file in reversed(files) if file.inner), "")
        for other in files[1:]:
            if len(other) != len(files[0]):
                raise ValueError(
                    f"{files[0].file} has {len(files[0])} rows and {other.file} {len(other)}, which stand side by "
                    "side; they must be of one number, so copy or fetch the files again"
                )
        self.wrong = [error for file in files for error in file.wrong]
        self.slow = [each for file in files for each in file.slow]
        self.names: list[dict[str, str]] = []  # of each file, its columns by the names that they have here
        for file in self.files:
            taken = [name for names in self.names for name in names]
            self.names.append({_free(name, taken): name for name in file.columns})

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(chain.from_iterable(self.names))

    def __len__(self) -> int:
        return len(self.files[0])

    def row(self, index: int) -> Row:
        rows = [file.row(index) for file in self.files]
        return {
            here: row.get(name) for row, names in zip(rows, self.names, strict=True) for here, name in names.items()
        }

    def each(self, columns: Sequence[str]) -> Iterator[Row | BadRowError]:
        wanted = [{here: name for here, name in names.items() if here in columns} for names in self.names]
        for rows in zip(
            *(file.each(list(names.values())) for file, names in zip(self.files, wanted, strict=True)), strict=True
        ):
            wrong = next((row for row in rows if isinstance(row, BadRowError)), None)
            yield wrong or {
                here: row.get(name)
                for row, names in zip(rows, wanted, strict=True)
                if not isinstance(row, BadRowError)
                for here, name in names.items()
            }

    def place(self, index: int) -> str:
        return self.files[0].place(index)

    def heavy(self) -> frozenset[str]:
        heavy = [file.heavy() for file in self.files]
        pairs = zip(self.names, heavy, strict=True)
        return frozenset(here for names, own in pairs for here, name in names.items() if name in own)

    def read_from(self) -> list[Path] | None:
        return all_of(self.files)

    def facts(self) -> Mapping[str, Any]:
        return {key: value for file in self.files for key, value in file.facts().items()}


class Computed(Rows):
    """Columns that are computed of the rows of a file, to stand beside it.

    Args:
        rows: the file.
        columns: by the name of each column, what makes its cell of a whole row; for data workers it must pickle.
        heavy: those of them whose cells are not looked at before they are needed.
        of: the columns of `rows` that they are made of; None makes them of all.

    Example:
        >>> from omniformer.data.table.columnar import ArrowRows
        >>> import pyarrow
        >>> rows = ArrowRows(pyarrow.table({"word": ["a", "bb"]}), "words")
        >>> Beside([rows, Computed(rows, {"size": lambda row: len(row["word"])})]).row(1)
        {'word': 'bb', 'size': 2}
    """

    def __init__(
        self,
        rows: Rows,
        columns: Mapping[str, Callable[[Row], Any]],
        *,
        heavy: Collection[str] = (),
        of: Sequence[str] | None = None,
    ) -> None:
        self.file, self.name = rows.file, rows.name
        self.rows, self.makers = rows, dict(columns)
        self._heavy, self.of = frozenset(heavy), list(rows.columns if of is None else of)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.makers)

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, index: int) -> Row:
        return self._made(self.rows.row(index), self.columns)

    def each(self, columns: Sequence[str]) -> Iterator[Row | BadRowError]:
        for row in self.rows.each(self.of if columns else []):
            yield row if isinstance(row, BadRowError) else self._made(row, columns)

    def heavy(self) -> frozenset[str]:
        return self._heavy

    def _made(self, row: Row, columns: Sequence[str]) -> Row:
        return {name: self.makers[name](row) for name in columns}


def _free(name: str, taken: Sequence[str]) -> str:
    number = 2
    found = name
    while found in taken:
        found, number = f"{name} {number}", number + 1
    return found
