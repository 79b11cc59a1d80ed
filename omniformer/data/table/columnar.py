"""Columns in Arrow's form: tables in memory, and files of Arrow, Feather and Parquet, of which only what is needed is
read.
"""

import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from omniformer.data.table.rows import BadRowError, Row, Rows

_AT_ONCE = 1024  # rows that become Python values together
_KEPT_BYTES = 512_000_000  # of row groups that are in memory at a time


class ArrowRows(Rows):
    """A table of Arrow in memory, or mapped from a file.

    Args:
        table: the columns.
        file: where they come from.
        names: what the class numbers of a column stand for, by column.
    """

    def __init__(self, table: pa.Table, file: Path | str, names: dict[str, tuple[str, ...]] | None = None) -> None:
        self.table, self.file, self.name = table, file, str(file)
        self.names = names or {}

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.table.column_names)

    def __len__(self) -> int:
        return self.table.num_rows

    def row(self, index: int) -> Row:
        return self.table.slice(index, 1).to_pylist()[0]

    def each(self, columns: Sequence[str]) -> Iterator[Row | BadRowError]:
        yield from listed(self.table.select(list(columns)))

    def heavy(self) -> frozenset[str]:
        return holds_files(self.table.schema)

    def class_names(self, column: str) -> tuple[str, ...]:
        return self.names.get(column, ())


class MappedRows(ArrowRows):
    """A file of Arrow (`.arrow`, `.feather`), mapped: a row is read from the disk when it is asked for.

    Args:
        file: in Arrow's file or stream format.
        names: as for `ArrowRows`.

    Raises:
        ValueError: it is neither; names it.
    """

    def __init__(self, file: Path, names: dict[str, tuple[str, ...]] | None = None) -> None:
        super().__init__(_mapped(file), file, names)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"table": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, table=_mapped(state["file"]))


class ParquetRows(Rows):
    """A file of Parquet, read by row groups, of which those used last stay in memory.

    A table of more than 512 MB is read again and again in a random order of its rows, which a warning says.

    Args:
        file: the file.

    Raises:
        ValueError: it is not Parquet; names it.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.name = file, str(file)
        self._open()
        groups = [self._parquet.metadata.row_group(i) for i in range(self._parquet.num_row_groups)]
        self.starts = [0]
        for group in groups:
            self.starts.append(self.starts[-1] + group.num_rows)
        if (size := sum(group.total_byte_size for group in groups)) > _KEPT_BYTES and len(groups) > 1:
            warnings.warn(
                f"{file} holds {size // 1_000_000} MB in row groups of {groups[0].num_rows} rows, of which "
                f"{_KEPT_BYTES // 1_000_000} MB stay in memory; write it as .arrow or with small row groups to read "
                "rows in random order fast",
                stacklevel=2,
            )

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self._parquet.schema_arrow.names)

    def __len__(self) -> int:
        return self.starts[-1]

    def row(self, index: int) -> Row:
        number = next(i for i, end in enumerate(self.starts[1:]) if index < end)
        return self._group(number).slice(index - self.starts[number], 1).to_pylist()[0]

    def each(self, columns: Sequence[str]) -> Iterator[Row | BadRowError]:
        if not columns:
            yield from ({} for _ in range(len(self)))
        for number in range(self._parquet.num_row_groups if columns else 0):
            yield from listed(self._read(number, list(columns)))

    def heavy(self) -> frozenset[str]:
        return holds_files(self._parquet.schema_arrow)

    def _group(self, number: int) -> pa.Table:
        if number not in self._groups:
            self._groups[number] = self._read(number, None)
            while len(self._groups) > 1 and sum(each.nbytes for each in self._groups.values()) > _KEPT_BYTES:
                self._groups.popitem(last=False)
        self._groups.move_to_end(number)
        return self._groups[number]

    def _read(self, number: int, columns: list[str] | None) -> pa.Table:
        try:
            return self._parquet.read_row_group(number, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.file}: row group {number} cannot be read: {_line(error)}") from error

    def _open(self) -> None:
        self._groups: OrderedDict[int, pa.Table] = OrderedDict()
        try:
            self._parquet = pq.ParquetFile(self.file, memory_map=True)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.file} cannot be read as Parquet: {_line(error)}") from error

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_parquet", "_groups")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()


def _mapped(file: Path) -> pa.Table:
    try:
        source = pa.memory_map(str(file))
        try:
            return pa.ipc.open_file(source).read_all()
        except pa.ArrowInvalid:
            source.seek(0)
            return pa.ipc.open_stream(source).read_all()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file} cannot be read as Arrow: {_line(error)}") from error


def listed(table: pa.Table) -> Iterator[Row]:
    """The rows of a table as Python values, some at a time."""
    if not table.num_columns:
        yield from ({} for _ in range(table.num_rows))
    for start in range(0, table.num_rows if table.num_columns else 0, _AT_ONCE):
        yield from table.slice(start, _AT_ONCE).to_pylist()


def class_names_in(features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """What the class numbers of columns stand for, as the library `datasets` describes its features."""
    return {
        column: tuple(map(str, feature["names"]))
        for column, feature in features.items()
        if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }


def holds_files(schema: pa.Schema) -> frozenset[str]:
    """The columns whose cells are bytes, or hold some."""
    return frozenset(field.name for field in schema if _of_files(field.type))


def _of_files(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_of_files(kind.field(i).type) for i in range(kind.num_fields))
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
