"""Sentences with a line for each word, as the shared tasks of CoNLL have them: a sentence is a row."""

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from omniformer.data.sets.reading import text_in
from omniformer.data.table.rows import BadRowError, Row, Rows

_DOCUMENT = "-DOCSTART-"  # the first word of a line between documents
_BLANKS = re.compile(r"[ \t]+")


class ConllRows(Rows):
    r"""A text file, also gzip-ed, of a word a line and beside it what is said of it, with tabs or else blanks between;
    an empty line ends a sentence, and `-DOCSTART-` is none.

    The columns are lists: `words`, the first, `tags`, the last, and those in between by their numbers, `column 2`.

    Args:
        file: the file.
        names: of all columns, in the place of these.

    Raises:
        ValueError: it cannot be read, holds no sentence, or its lines have one column or others than `names`; names it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (file := Path(folder) / "a.conll").write_text("Ada NNP B-PER\nslept VBD O\n\nRome NNP B-LOC\n")
        ...     ConllRows(file).row(0)
        {'words': ['Ada', 'slept'], 'column 2': ['NNP', 'VBD'], 'tags': ['B-PER', 'O']}
    """

    def __init__(self, file: Path, names: Sequence[str] | None = None) -> None:
        self.file, self.name = file, str(file)
        text = text_in(file)
        blanks = re.compile("\t") if "\t" in text else _BLANKS
        lines = [blanks.split(line.rstrip()) if line.strip() else None for line in text.split("\n")]
        self.sentences: list[tuple[int, list[list[str]]]] = []  # the number of the first line, and the cells of each
        for is_sentence, group in groupby(enumerate(lines, start=1), key=lambda each: each[1] is not None):
            numbered = [(number, cells) for number, cells in group if cells and cells[0] != _DOCUMENT]
            if is_sentence and numbered:
                self.sentences.append((numbered[0][0], [cells for _, cells in numbered]))
        if not self.sentences:
            raise ValueError(f"{file} holds no sentence; expected a word a line, and its tag behind a tab or a blank")
        n = len(self.sentences[0][1][0])
        self.header = list(names or ["words", *(f"column {place}" for place in range(2, n)), "tags"])
        if n < 2 or len(self.header) != n:
            raise ValueError(f"{file}: its first word has {n} columns, expected {len(self.header)}: {self.header}")

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.header)

    def __len__(self) -> int:
        return len(self.sentences)

    def row(self, index: int) -> Row:
        first, lines = self.sentences[index]
        for number, cells in enumerate(lines, start=first):
            if len(cells) != len(self.header):
                raise BadRowError(
                    f"{self.file}, line {number}: {len(cells)} columns for {len(self.header)}, {', '.join(self.header)}"
                )
        return {name: list(column) for name, column in zip(self.header, zip(*lines, strict=True), strict=True)}

    def place(self, index: int) -> str:
        return f"line {self.sentences[index][0]}"

    def read_from(self) -> list[Path] | None:
        return [Path(self.file)]
