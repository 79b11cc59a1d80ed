"""Files of lines as a table: a line is a row."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from omniformer.data.sets.reading import lines_in, text_in, text_of_member
from omniformer.data.table.rows import BadRowError, Row, Rows


class LineRows(Rows):
    r"""A text file, also gzip-ed or within a zip archive, of which every line is a row, without blanks around it.

    The columns are `line` and the parts of the file's name that a pattern names.

    Args:
        file: the file.
        member: the file's name within the archive `file`; None where it is a file itself.
        pattern: what to look for in the file's name: each named group is a column.

    Raises:
        ValueError: it cannot be read, has an empty line, or another name; names it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (file := Path(folder) / "reviews.pos").write_text("good\nwell done\n")
        ...     list(LineRows(file, pattern=r"(?P<mood>pos|neg)$").each(["line", "mood"]))
        [{'line': 'good', 'mood': 'pos'}, {'line': 'well done', 'mood': 'pos'}]
    """

    def __init__(self, file: Path, member: str | None = None, pattern: str | None = None) -> None:
        self.file, self.name = file, str(file)
        where = str(file) if member is None else f"{file}: {member!r}"
        self.lines = lines_in(text_in(file) if member is None else text_of_member(file, member), where)
        self.parts = {} if pattern is None else parts_of(member or file.name, pattern, where)

    @property
    def columns(self) -> tuple[str, ...]:
        return ("line", *self.parts)

    def __len__(self) -> int:
        return len(self.lines)

    def row(self, index: int) -> Row:
        return {"line": self.lines[index], **self.parts}

    def each(self, columns: Sequence[str]) -> Iterator[Row | BadRowError]:
        return map(self.row, range(len(self)))

    def place(self, index: int) -> str:
        return f"line {index + 1}"


def parts_of(name: str, pattern: str, where: str) -> dict[str, str]:
    r"""The parts of a name that a pattern names.

    Args:
        name: of a file.
        pattern: a regular expression with named groups, which may stand anywhere in the name.
        where: the file, for messages.

    Raises:
        ValueError: the name is of another form, or the pattern cannot be read.

    Example:
        >>> parts_of("7_theo_31.wav", r"(?P<digit>\d)_(?P<speaker>[a-z]+)", "")
        {'digit': '7', 'speaker': 'theo'}
    """
    try:
        found = re.search(pattern, name)
    except re.error as error:
        raise ValueError(f"pattern={pattern!r} is no regular expression: {error}") from error
    if found is None:
        raise ValueError(f"{where} is not named as pattern={pattern!r} says; rename it, or give another pattern")
    return found.groupdict()
