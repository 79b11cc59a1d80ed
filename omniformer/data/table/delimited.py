"""Tables of text: cells between commas, semicolons or tabs; all stay strings, for their column's role to read."""

import csv
import io
from pathlib import Path

import pyarrow as pa
from pyarrow import csv as arrow_csv

from omniformer.data.sets.reading import unpacked
from omniformer.data.table.columnar import ArrowRows
from omniformer.data.table.rows import BadRowError

_DELIMITERS = (",", ";", "\t", "|")
_DAMAGES = (ValueError, OSError, EOFError, pa.ArrowException)


class DelimitedRows(ArrowRows):
    """A file of CSV or TSV, also gzip-ed. An empty cell is None; no other cell means that something is missing here.

    Args:
        file: the file.
        delimiter: what stands between cells; None takes a tab in `.tsv`, and else that of commas, semicolons, tabs and
            bars which is most often in the first line.
        quotes: whether double quotes hold cells together; None says yes, but for `.tsv`, whose texts often have single
            quotes of their own.
        names: of the columns, where the first line holds none.

    Raises:
        ValueError: it is not such a table, not UTF-8, or names a column twice; names the file.
    """

    def __init__(
        self, file: Path, *, delimiter: str | None = None, quotes: bool | None = None, names: list[str] | None = None
    ) -> None:
        tabbed = file.name.lower().removesuffix(".gz").endswith(".tsv")
        quoted = quotes if quotes is not None else not tabbed
        self.wrong: list[BadRowError] = []
        try:
            content = unpacked(file).removeprefix(b"\xef\xbb\xbf")
            first = content.split(b"\n", 1)[0].decode().rstrip("\r")
            delimiter = delimiter or ("\t" if tabbed else max(_DELIMITERS, key=first.count))
            kind = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
            header = names or next(csv.reader(io.StringIO(first), delimiter=delimiter, quoting=kind), [])
            header = [name.strip() for name in header]
            _check_names(header, file)
            table = self._table(content, file, delimiter, quoted, header, skipped=0 if names else 1)
        except _DAMAGES as error:
            told = " ".join(str(error).split())
            raise ValueError(told if str(file) in told else f"{file} cannot be read as a table: {told}") from error
        super().__init__(table, file)
        if quotes is None and tabbed:
            _refuse_quoted(table, file)

    def _table(
        self, content: bytes, file: Path, delimiter: str, quoted: bool, header: list[str], *, skipped: int
    ) -> pa.Table:
        def pass_over(row: arrow_csv.InvalidRow) -> str:
            self.wrong.append(
                BadRowError(
                    f"{file}, line {row.number}: has {row.actual_columns} cells for {row.expected_columns} columns"
                    + ("; put a cell that holds the delimiter in double quotes" if quoted else "")
                )
            )
            return "skip"

        return arrow_csv.read_csv(
            pa.BufferReader(content),
            # In one piece and one thread: so numbers of lines are known, and cells may be longer than a block.
            arrow_csv.ReadOptions(
                use_threads=False,
                column_names=header,
                skip_rows=skipped,
                block_size=min(max(len(content), 1), 2**31 - 1),
            ),
            arrow_csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quoted else False,
                newlines_in_values=quoted,
                invalid_row_handler=pass_over,
            ),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.large_string()), null_values=[""], strings_can_be_null=True
            ),
        )


def _check_names(names: list[str], file: Path) -> None:
    if not names or not all(names):
        raise ValueError(f"{file}: its first line does not name every column, {names}; name them with names=[...]")
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{file} names the column {double[0]!r} twice; names of columns must differ")


def _refuse_quoted(table: pa.Table, file: Path) -> None:
    """Refuses cells that were put in quotes: read as they are, their quotes would be part of them."""
    for name in table.column_names:
        cells = [cell for cell in table[name].to_pylist() if cell is not None]
        quoted = [cell for cell in cells if len(cell) > 1 and cell[0] == cell[-1] == '"']
        if any('""' in cell[1:-1] for cell in quoted) or (quoted and len(quoted) == len(cells)):
            raise ValueError(
                f"{file}: cells of {name!r} stand in double quotes, such as {quoted[0][:60]!r}; set quotes=true where "
                "these only hold a cell together, or quotes=false where they belong to it"
            )
