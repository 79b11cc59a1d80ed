"""Documents of one's own files, read one after the other in the memory of one: for corpora larger than memory."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from omniformer_tokenizers.files import decoded, lines_of

from omniformer.data.random import fraction
from omniformer.data.sets.reading import unpacked
from omniformer.data.source import Split
from omniformer.data.splitting import split_at
from omniformer.data.table.json_lines import object_in
from omniformer.data.table.opening import SUFFIXES as TABLES
from omniformer.data.table.opening import Opener
from omniformer.data.table.rows import BadRowError

Unit = Literal["file", "paragraph", "line"]
SUFFIXES = (".txt", ".txt.gz", *(suffix for suffix in TABLES if suffix != ".tar"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """How documents are dealt into splits: by the hash of what they say, so never by where they lie or in what order.

    Equal documents are in one split.

    Args:
        val: the share of validation.
        test: the share of test.

    Raises:
        ValueError: the shares leave nothing for training.

    Example:
        >>> Division(val=0.5, test=0.4).split("the cat")
        'val'
    """

    val: float = 0.0
    test: float = 0.0

    def __post_init__(self) -> None:
        if min(self.val, self.test) < 0 or self.val + self.test >= 1:
            raise ValueError(
                f"shares val={self.val} and test={self.test} must be 0 or more and leave something for training"
            )

    def split(self, text: str) -> Split:
        """The split of a document."""
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return split_at(fraction(key, "split"), val=self.val, test=self.test)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFile:
    """The documents of one file, or those of one split; pickles, and reads anew each time it is called.

    Files of text and of JSON lines are read line by line, Parquet and Arrow by groups of rows; CSV, what is gzip-ed,
    and a file that is one document come into memory whole.

    Args:
        path: `.txt`, `.txt.gz`, or a table: `.jsonl`, `.csv`, `.parquet`, `.arrow` and their kin.
        unit: what a document is in a file of text: all of it, what stands between empty lines, or a line.
        text_key: the column of a table that holds the text.
        skip: pass over rows that cannot be read, in the place of raising their error.
        division: deals the documents into splits; with `split`.
        split: which documents to give; None gives all.

    Raises:
        ValueError: when called: the file or a row cannot be read; names file and line.
    """

    path: Path
    unit: Unit = "file"
    text_key: str = "text"
    skip: bool = False
    division: Division = field(default_factory=Division)
    split: Split | None = None

    def __call__(self) -> Iterator[str]:
        """The documents; those without a letter are passed over."""
        for text in self.each():
            if isinstance(text, str) and text.strip() and self.split in (None, self.division.split(text)):
                yield text

    def each(self) -> Iterator[str | BadRowError]:
        """Everything that the file holds in order, also empty texts, and with `skip` the errors of rows."""
        name = self.path.name.lower()
        if name.removesuffix(".gz").endswith(".txt"):
            yield from self._of_text()
            return
        lines = name.removesuffix(".gz").endswith((".jsonl", ".ndjson"))
        for text in self._of_json_lines() if lines else self._of_table():
            if isinstance(text, BadRowError) and not self.skip:
                raise ValueError(f"{text}; --on-error skip passes over it") from text
            yield text

    def _of_text(self) -> Iterator[str]:
        if self.unit == "file":
            yield decoded(unpacked(self.path), str(self.path))
            return
        paragraph: list[str] = []
        for line in self._lines():
            if self.unit == "line":
                yield line
            elif line:
                paragraph.append(line)
            elif paragraph:
                yield "\n".join(paragraph)
                paragraph = []
        if paragraph:
            yield "\n".join(paragraph)

    def _of_json_lines(self) -> Iterator[str | BadRowError]:
        for number, line in enumerate(self._lines(), start=1):
            if line.strip():
                yield self._of_line(line, f"{self.path}, line {number}")

    def _of_line(self, line: str, where: str) -> str | BadRowError:
        try:
            row = object_in(line, where)
        except BadRowError as error:
            return error
        if not isinstance(text := row.get(self.text_key), str):
            return BadRowError(f"{where}: expected a text {self.text_key!r}, received the keys {sorted(row)}")
        return text

    def _of_table(self) -> Iterator[str | BadRowError]:
        opener = Opener(data_root=None, delimiter=None, quotes=None, names=None, config=None, download=False)
        rows, _ = opener.open({None: str(self.path)})
        if self.text_key not in rows.columns:
            raise ValueError(
                f"{self.path} has no column {self.text_key!r}, but {', '.join(rows.columns)}; name that of the texts "
                "with --text-key"
            )
        yield from rows.wrong
        for index, row in enumerate(rows.each([self.text_key])):
            cell = row if isinstance(row, BadRowError) else row.get(self.text_key)
            if cell is None or isinstance(cell, str | BadRowError):
                yield "" if cell is None else cell
            else:
                yield BadRowError(f"{rows.where(index)}: {self.text_key!r} holds {type(cell).__name__}, not text")

    def _lines(self) -> Iterator[str]:
        """The lines, none of them with its end."""
        if self.path.suffix == ".gz":
            yield from lines_of(decoded(unpacked(self.path), str(self.path)))
            return
        try:
            with self.path.open(encoding="utf-8-sig", newline="\n") as file:
                yield from map(_without_end, file)
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.path} cannot be read as UTF-8 text: {error}") from error


def _without_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")
