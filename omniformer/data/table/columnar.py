"""Columns in Arrow's form: tables in memory, mapped files, and files that are read by groups of rows."""

import json
from abc import abstractmethod
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from omniformer.data.sets.reading import check_ratio
from omniformer.data.table.rows import BadRowError, Row, Rows

_AT_ONCE = 1024  # rows that become Python values together
_UNFOLDED = 4096  # rows of Parquet that are unfolded before it is looked how much they are


class ArrowRows(Rows):
    """A table of Arrow in memory, or mapped from a file.

    Args:
        table: the columns.
        file: where they come from.
        names: what the class numbers of a column stand for, by column, beside what the library `datasets` wrote into
            the table.
    """

    def __init__(self, table: pa.Table, file: Path | str, names: dict[str, tuple[str, ...]] | None = None) -> None:
        self.table, self.file, self.name = table, file, str(file)
        self.names = described_in(table.schema) | (names or {})

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

    def read_from(self) -> list[Path] | None:
        return [Path(self.file)]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"table": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, table=_mapped(state["file"]))


class GroupedRows(Rows):
    """The rows of a file that is read by groups of rows, of which those used last stay in memory.

    Args:
        file: the file.
    """

    kept_bytes = 64_000_000  # of groups that are in memory at a time

    def __init__(self, file: Path) -> None:
        self.file, self.name = file, str(file)
        self._open()
        self.starts = [0]  # of each group, the number of its first row; and of all rows

    @abstractmethod
    def _open(self) -> None:
        """Opens the file: what was opened does not pickle, and is opened again where it is used."""
        self._groups: OrderedDict[int, pa.Table] = OrderedDict()
        self._held = 0  # bytes of them

    @abstractmethod
    def _read(self, number: int, columns: list[str] | None) -> pa.Table:
        """One group of rows.

        Args:
            number: of the group.
            columns: which are wanted; None for all.
        """

    def __len__(self) -> int:
        return self.starts[-1]

    def row(self, index: int) -> Row:
        number = bisect_right(self.starts, index) - 1
        return self._group(number).slice(index - self.starts[number], 1).to_pylist()[0]

    def each(self, columns: Sequence[str]) -> Iterator[Row | BadRowError]:
        if not columns:
            yield from ({} for _ in range(len(self)))
        for number in range(len(self.starts) - 1 if columns else 0):
            yield from listed(self._read(number, list(columns)))

    def read_from(self) -> list[Path] | None:
        return [Path(self.file)]

    def _group(self, number: int) -> pa.Table:
        if number not in self._groups:
            self._groups[number] = found = self._read(number, None)
            self._held += found.nbytes
            while len(self._groups) > 1 and self._held > self.kept_bytes:
                self._held -= self._groups.popitem(last=False)[1].nbytes
        self._groups.move_to_end(number)
        return self._groups[number]

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_opened", "_groups")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()


class ParquetRows(GroupedRows):
    """A file of Parquet, read by its row groups.

    A table of more than 512 MB is read again and again in a random order of its rows, which `slow` says; within a
    window of the order (`data.window`), or forwards, it is not.

    Args:
        file: the file.

    Raises:
        ValueError: it is not Parquet; names it.
    """

    kept_bytes = 512_000_000  # a group is much larger than one of texts

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        groups = [self._opened.metadata.row_group(i) for i in range(self._opened.num_row_groups)]
        self.starts += accumulate(group.num_rows for group in groups)
        if (size := sum(group.total_byte_size for group in groups)) > self.kept_bytes and len(groups) > 1:
            told = (
                f"{file} holds {size // 1_000_000} MB in row groups of {groups[0].num_rows} rows, of which "
                f"{self.kept_bytes // 1_000_000} MB stay in memory; to read rows in random order fast, shuffle them "
                "within windows (data.window=100000), or write it as .arrow or with small row groups"
            )
            self.slow = [told]
        self.names = described_in(self._opened.schema_arrow)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self._opened.schema_arrow.names)

    def class_names(self, column: str) -> tuple[str, ...]:
        return self.names.get(column, ())

    def heavy(self) -> frozenset[str]:
        return holds_files(self._opened.schema_arrow)

    def _read(self, number: int, columns: list[str] | None) -> pa.Table:
        told = self._opened.metadata.row_group(number)
        packed = sum(told.column(i).total_compressed_size for i in range(told.num_columns))
        packed = min(packed, Path(self.file).stat().st_size)
        try:
            batches = self._opened.iter_batches(batch_size=_UNFOLDED, row_groups=[number], columns=columns)
            return _bounded(batches, packed) or self._opened.read_row_group(number, columns=columns)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ValueError(f"{self.file}: row group {number} cannot be read: {_line(error)}") from error

    def _open(self) -> None:
        super()._open()
        try:
            self._opened = pq.ParquetFile(self.file, memory_map=True)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.file} cannot be read as Parquet: {_line(error)}") from error


def _mapped(file: Path) -> pa.Table:
    try:
        source = pa.memory_map(str(file))
        try:
            reader = pa.ipc.open_file(source)
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        except pa.ArrowInvalid:
            source.seek(0)
            batches = reader = pa.ipc.open_stream(source)
        return _bounded(batches, file.stat().st_size) or reader.schema.empty_table()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read as Arrow: {_line(error)}") from error


def _bounded(batches: Iterable[pa.RecordBatch], packed: int) -> pa.Table | None:
    """A table of what comes, unless that is much more than its size in the file lets expect; None where nothing comes.

    Columns may say the same thing a billion times in a few bytes.

    Raises:
        ValueError: it is too much.
    """
    found, n = [], 0
    for batch in batches:
        found.append(batch)
        check_ratio(n := n + batch.nbytes, packed)
    return pa.Table.from_batches(found) if found else None


def listed(table: pa.Table) -> Iterator[Row]:
    """The rows of a table as Python values, some at a time."""
    if not table.num_columns:
        yield from ({} for _ in range(table.num_rows))
    for start in range(0, table.num_rows if table.num_columns else 0, _AT_ONCE):
        yield from table.slice(start, _AT_ONCE).to_pylist()


def class_names_in(features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """What the class numbers of columns, or of lists in them, stand for, as the library `datasets` describes features.

    Example:
        >>> tag = {"names": ["O", "PER"], "_type": "ClassLabel"}
        >>> class_names_in({"word": {"dtype": "string", "_type": "Value"}, "tags": {"feature": tag, "_type": "List"}})
        {'tags': ('O', 'PER')}
    """
    found: dict[str, tuple[str, ...]] = {}
    for column, feature in features.items():
        inner = feature.get("feature", feature) if isinstance(feature, Mapping) else None
        if isinstance(inner, Mapping) and inner.get("_type") == "ClassLabel" and inner.get("names"):
            found[column] = tuple(map(str, inner["names"]))
    return found


def described_in(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """The same of a table that the library has written; nothing of others."""
    try:
        found = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        return class_names_in(found["info"]["features"])
    except (ValueError, KeyError, TypeError, AttributeError):  # somebody else's
        return {}


def holds_files(schema: pa.Schema) -> frozenset[str]:
    """The columns whose cells are bytes, or hold some."""
    return frozenset(field.name for field in schema if _of_files(field.type))


def _of_files(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_of_files(kind.field(i).type) for i in range(kind.num_fields))
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
