"""Tables of text: cells between commas, semicolons or tabs; all stay strings, for their column's role to read."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from omniformer.data.sets.reading import mapped
from omniformer.data.table.columnar import GroupedRows
from omniformer.data.table.index import Index
from omniformer.data.table.rows import NOT_UTF8, BadRowError

_DELIMITERS = (",", ";", "\t", "|")
_DAMAGES = (ValueError, OSError, EOFError, pa.ArrowException)
_AT_ONCE = 1 << 18  # bytes that are read together
_MARK = b"\xef\xbb\xbf"
_SWALLOWED = 10_000  # lines that an open quote may take in before nothing of the file is believed


class DelimitedRows(GroupedRows):
    """A file of CSV or TSV, also gzip-ed. An empty cell is None; no other cell means that something is missing here.

    A line break in the name of a column, which must stand in double quotes, is read as a blank.

    The file is mapped, unless it is gzip-ed, and read by stretches of whole rows; where these begin is found once, and
    of a large file kept for later runs (`Index`).

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
        self.quoted = quotes if quotes is not None else not tabbed
        self.wrong: list[BadRowError] = []
        self.torn = set[int]()  # the stretches in which a quote is left open
        try:
            super().__init__(file)
            content = self._opened
            begin = len(_MARK) if content[: len(_MARK)] == _MARK else 0
            end = _header_end(content, begin, (delimiter or "".join(_DELIMITERS)).encode(), quoted=self.quoted)
            first = content[begin:end].decode().rstrip("\r\n")
            self.delimiter = delimiter or ("\t" if tabbed else max(_DELIMITERS, key=first.count))
            kind = csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE
            header = names or next(csv.reader(io.StringIO(first), delimiter=self.delimiter, quoting=kind), [])
            self.header = [re.sub(r"\s*[\r\n]\s*", " ", name.strip()) for name in header]
            _check_names(self.header, file)
            settings = {"delimiter": self.delimiter, "quotes": quotes, "names": names}
            index = Index(f"stretches of {file.name}", [file], settings)
            if found := index.load(of=("ends", "starts", "wrong", "torn")):
                self.ends, self.starts = found["ends"].tolist(), found["starts"].tolist()
                self.wrong, self.torn = list(map(BadRowError, found["wrong"])), set(found["torn"])
            else:
                self._divide(begin if names else end, ask=quotes is None and tabbed)
                found = {"ends": np.array(self.ends), "starts": np.array(self.starts)}
                index.save({**found, "wrong": list(map(str, self.wrong)), "torn": sorted(self.torn)})
        except _DAMAGES as error:
            told = " ".join(str(error).split())
            if isinstance(error, UnicodeDecodeError) or "invalid UTF8" in told:
                told = f"it is {NOT_UTF8}"
            raise ValueError(told if str(file) in told else f"{file} cannot be read as a table: {told}") from error

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.header)

    def _open(self) -> None:
        super()._open()
        self._opened = mapped(Path(self.file))

    def _divide(self, begin: int, *, ask: bool) -> None:
        """Finds where stretches of rows begin, how many rows each has, and which rows are of another length.

        Args:
            begin: where the first row does.
            ask: whether to refuse cells that seem to be held together by quotes.
        """
        self.ends = [begin, *_ends(self._opened, begin, self.delimiter.encode(), quoted=self.quoted)]
        lines = self._opened[:begin].count(b"\n")
        doubt = _Doubt(self.header)
        for number, (start, end) in enumerate(pairwise(self.ends)):
            content = self._opened[start:end]
            if torn := self._torn(content):
                self.torn.add(number)
            wrong: list[arrow_csv.InvalidRow] = []
            table = self._parsed(number, lambda row, wrong=wrong: wrong.append(row) or "skip")
            self.starts.append(self.starts[-1] + len(table))
            self._note(content, wrong, torn, lines)
            lines += content.count(b"\n")
            if ask:
                doubt.look(table)
        doubt.refuse(self.file)

    def _read(self, number: int, columns: list[str] | None) -> pa.Table:
        table = self._parsed(number, lambda row: "skip")
        return table if columns is None else table.select(columns)

    def _parsed(self, number: int, wrong: Callable[[arrow_csv.InvalidRow], str]) -> pa.Table:
        content = self._opened[self.ends[number] : self.ends[number + 1]]
        if number in self.torn:
            content = _blanked(content, [(begin, end) for begin, end, _ in self._torn(content)], b"\n")
        return arrow_csv.read_csv(
            pa.BufferReader(content),
            # In one piece and one thread: so numbers of lines are known, and cells may be longer than a block.
            arrow_csv.ReadOptions(
                use_threads=False, column_names=self.header, block_size=min(max(len(content), 1), 2**31 - 1)
            ),
            arrow_csv.ParseOptions(
                delimiter=self.delimiter,
                quote_char='"' if self.quoted else False,
                newlines_in_values=self.quoted,
                invalid_row_handler=wrong,
            ),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(self.header, pa.large_string()), null_values=[""], strings_can_be_null=True
            ),
        )

    def _torn(self, content: bytes) -> list[tuple[int, int, int]]:
        """From where to where each row goes of which a quote is never closed, or only by one in a later cell; and where
        that quote stands.

        Args:
            content: of a stretch of rows.
        """
        if not (cells := self._cells(content)):
            return []
        closed = re.compile(rb" *(?:[\r\n" + re.escape(self.delimiter.encode()) + rb"]|\Z)")
        rows = _blanked(content, [cell.span() for cell in cells])
        found: list[tuple[int, int, int]] = []
        for cell in cells:
            start, end = cell.span()
            taken = b"\n" in cell[0].rstrip(b"\r\n")
            if taken and not (cell[1] and closed.match(content, end)) and start >= (found[-1][1] if found else 0):
                last = rows.find(b"\n", end)
                found.append((rows.rfind(b"\n", 0, start) + 1, len(content) if last < 0 else last, start))
        return found

    def _cells(self, content: bytes) -> list[re.Match[bytes]]:
        """The cells in quotes that go over lines."""
        if not self.quoted or b'"' not in content:
            return []
        return [cell for cell in _quoted_cell(self.delimiter.encode()).finditer(content) if b"\n" in cell[0]]

    def _note(
        self, content: bytes, wrong: Sequence[arrow_csv.InvalidRow], torn: Sequence[tuple[int, int, int]], before: int
    ) -> None:
        """Notes rows of another length, and each line of the rows in which a quote is left open.

        Args:
            content: of a stretch of rows.
            wrong: those of another length in it.
            torn: those with such a quote.
            before: how many lines stand before it.
        """
        told: dict[int, str] = {}
        if wrong:
            spans = [cell.span() for cell in self._cells(content)]
            blanked = _blanked(_blanked(content, spans), [(begin, end) for begin, end, _ in torn], b"\n")
            lines = _lines(content, blanked)
            hint = "; put a cell that holds the delimiter in double quotes" if self.quoted else ""
            for row in wrong:
                told[lines[min(row.number, len(lines)) - 1]] = (
                    f"has {row.actual_columns} cells for {row.expected_columns} columns{hint}"
                )
        for begin, end, quote in torn:
            first, line = (content.count(b"\n", 0, place) for place in (begin, quote))
            taken = first + content[begin:end].rstrip(b"\r\n").count(b"\n") - line
            message = (
                f"a double quote opens a cell that takes in the {taken} line(s) below; close it, or set quotes=false "
                "where quotes hold no cells together"
            )
            if taken > _SWALLOWED:
                raise ValueError(f"{self.file}, line {before + line + 1}: {message}")
            rest = f"is of the row of the double quote in line {before + line + 1}"
            told |= dict.fromkeys(range(first, line + taken + 1), rest) | {line: message}
        self.wrong += [BadRowError(f"{self.file}, line {before + line + 1}: {told[line]}") for line in sorted(told)]


def _lines(content: bytes, blanked: bytes) -> list[int]:
    """The line in which each row begins, from 0; empty lines, and those in cells, which are blanked, begin none."""
    ends, own = (np.flatnonzero(np.frombuffer(each, np.uint8) == ord("\n")) for each in (blanked, content))
    begins = np.concatenate([[0], ends + 1])
    rows = [begin for begin, end in pairwise([*begins, len(content)]) if blanked[begin:end].strip(b"\r\n")]
    return np.searchsorted(own, rows).tolist()


def _quoted_cell(delimiter: bytes) -> re.Pattern[bytes]:
    """A cell in quotes, and its last quote if there is one: as the parser has it, a quote opens where a cell begins."""
    return re.compile(rb"(?:(?<=[\r\n" + re.escape(delimiter) + rb'])|\A)"[^"]*(?:""[^"]*)*("?)')


def _ends(content: Any, begin: int, delimiter: bytes, *, quoted: bool) -> Iterator[int]:
    """Behind each stretch of whole rows; a line feed in a quoted cell ends no row."""
    cell, size = _quoted_cell(delimiter), _AT_ONCE
    while begin < len(content):
        piece = content[begin : begin + size]
        last = begin + len(piece) == len(content)
        open_at = len(piece)
        if quoted and not last and b'"' in piece:
            inside = [match for match in cell.finditer(piece) if b"\n" in match[0] or not match[1]]
            open_at = next((match.start() for match in inside if not match[1]), len(piece))
            piece = _blanked(piece, [match.span() for match in inside])
        end = len(piece) if last else piece.rfind(b"\n", 0, open_at) + 1
        if end:
            begin, size = begin + end, _AT_ONCE
            yield begin
        else:  # a row, or a cell, that is longer
            size *= 2


def _header_end(content: Any, begin: int, delimiters: bytes, *, quoted: bool) -> int:
    """Behind the line of names, which goes on below where a name in quotes holds a line break.

    Raises:
        ValueError: a quote takes in what stands below, and is closed nowhere, or by one of a later cell.
    """
    end = content.find(b"\n", begin) + 1 or len(content)
    if not quoted or b'"' not in content[begin:end]:
        return end
    piece = content[begin : begin + _AT_ONCE]
    closed = re.compile(rb" *(?:[\r\n" + re.escape(delimiters) + rb"]|\Z)")
    for match in _quoted_cell(delimiters).finditer(piece):
        if begin + match.start() >= end:
            break
        if b"\n" in match[0]:
            if not (match[1] and closed.match(piece, match.end())):
                raise ValueError(
                    "a double quote in its first line opens a name of a column that takes in the lines below; close "
                    "it, or set quotes=false where quotes hold no cells together"
                )
            end = content.find(b"\n", begin + match.end()) + 1 or len(content)
    return end


def _blanked(piece: bytes, spans: list[tuple[int, int]], by: bytes = b"\0") -> bytes:
    """The same without line feeds in some stretches of it; where these are `by`, with empty lines in their place."""
    changed = bytearray(piece)
    for begin, end in spans:
        changed[begin:end] = by * (end - begin)
    return bytes(changed)


def _check_names(names: list[str], file: Path) -> None:
    if not names or not all(names):
        raise ValueError(f"{file}: its first line does not name every column, {names}; name them with names=[...]")
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{file} names the column {double[0]!r} twice; names of columns must differ")


class _Doubt:
    """Whether cells were put in quotes: read as they are, their quotes would be part of them."""

    def __init__(self, names: list[str]) -> None:
        self.first: dict[str, str] = {}  # by column, its first cell in quotes
        self.bare = dict.fromkeys(names, 0)  # how many cells stand in none
        self.doubled: set[str] = set()

    def look(self, table: pa.Table) -> None:
        """Notes the cells of some rows."""
        for name in table.column_names:
            cells = [cell for cell in table[name].to_pylist() if cell is not None]
            quoted = [cell for cell in cells if len(cell) > 1 and cell[0] == cell[-1] == '"']
            self.bare[name] += len(cells) - len(quoted)
            if quoted:
                self.first.setdefault(name, quoted[0])
            if any('""' in cell[1:-1] for cell in quoted):
                self.doubled.add(name)

    def refuse(self, file: Path | str) -> None:
        """Refuses a column of quoted cells."""
        for name, cell in self.first.items():
            if name in self.doubled or not self.bare[name]:
                raise ValueError(
                    f"{file}: cells of {name!r} stand in double quotes, such as {cell[:60]!r}; set quotes=true where "
                    "these only hold a cell together, or quotes=false where they belong to it"
                )
