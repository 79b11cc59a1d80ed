"""Whole text files as a table of one row, or a stretch of one."""

import re
from pathlib import Path

from omniformer.data.sets.reading import text_in
from omniformer.data.table.rows import Row, Rows

_STRETCH = re.compile(r"(0|0?\.\d+)?\.\.(0?\.\d+|1)?")


class TextRows(Rows):
    """A text file, also gzip-ed, as one row with the column `text`; or a stretch of it, for one long text that is split
    by place.

    Args:
        file: of UTF-8, whose lines end with line feeds once they are read.
        stretch: from which share of its characters to before which, `..0.9` or `0.9..`; None takes all.

    Raises:
        ValueError: it is not UTF-8, the stretch is written otherwise, or holds no character; names it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (file := Path(folder) / "a.txt").write_text("to be or not")
        ...     [TextRows(file, each).row(0)["text"] for each in ("..0.5", "0.5..")]
        ['to be ', 'or not']
    """

    columns = ("text",)  # pyright: ignore[reportIncompatibleMethodOverride,reportAssignmentType]

    def __init__(self, file: Path, stretch: str | None = None) -> None:
        self.file, self.name = file, str(file)
        found = _STRETCH.fullmatch(stretch or "..")
        begin, end = (float(each) for each in (found[1] or 0, found[2] or 1)) if found else (1.0, 0.0)
        if begin >= end:
            raise ValueError(f"{file}::{stretch}: no stretch of a text; write '..0.9' or '0.9..', shares of its length")
        whole = text_in(file)
        self.text = whole[int(begin * len(whole)) : int(end * len(whole))]
        if not self.text.strip():
            raise ValueError(f"{file}: of its {len(whole)} characters the stretch {stretch or '..'!r} holds no text")

    def __len__(self) -> int:
        return 1

    def row(self, index: int) -> Row:
        return {"text": self.text}

    def place(self, index: int) -> str:
        return f"text {self.inner}".strip()
