"""Tables as JSON lines: one object a line, read when it is asked for."""

import json
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from omniformer.data.sets.reading import mapped
from omniformer.data.table.index import Index
from omniformer.data.table.rows import NOT_UTF8, BadRowError, Row, Rows

_LOOKED_AT = 100  # lines whose keys are the columns of the table, beside those that are asked for


class JsonRows(Rows):
    """A file of JSON lines (`.jsonl`, `.ndjson`), also gzip-ed; empty lines are no rows. A cell may be of any form.

    Args:
        file: the file; mapped, unless it is packed. Where its lines begin is found once, and of a large file kept for
            later runs (`Index`).

    Raises:
        ValueError: it cannot be read; names it.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.name = file, str(file)
        self._content = self._read()
        index = Index(f"lines of {file.name}", [file], {})
        found = index.load(of=("numbers", "starts"))
        if found is None:
            self._find()
            index.save({"numbers": self.numbers, "starts": self.starts})
        else:
            self.numbers, self.starts = found["numbers"], found["starts"]
        self._columns: tuple[str, ...] | None = None

    def _find(self) -> None:
        """Finds the lines that are rows: their numbers from 1, and where each begins."""
        numbers, starts = array("q"), array("q")
        start = 0
        for number, end in enumerate(_ends(self._content), start=1):
            if self._content[start:end].strip(b" \t\r\n\xef\xbb\xbf"):
                numbers.append(number)
                starts.append(start)
            start = end
        self.numbers, self.starts = np.asarray(numbers), np.asarray(starts)

    @property
    def columns(self) -> tuple[str, ...]:
        if self._columns is None:
            found: dict[str, None] = {}
            for index in range(min(_LOOKED_AT, len(self))):
                try:
                    found |= dict.fromkeys(self.row(index))
                except BadRowError:  # told, or skipped and counted, when rows are looked at
                    continue
            self._columns = tuple(found)
        return self._columns

    def __len__(self) -> int:
        return len(self.starts)

    def row(self, index: int) -> Row:
        number, start = int(self.numbers[index]), int(self.starts[index])
        end = self._content.find(b"\n", start)
        line = self._content[start : end if end >= 0 else len(self._content)].removeprefix(b"\xef\xbb\xbf")
        return object_in(line, f"{self.file}, line {number}")

    def read_from(self) -> list[Path] | None:
        return [Path(self.file)]

    def place(self, index: int) -> str:
        return f"line {self.numbers[index]}"

    def _read(self) -> Any:
        try:
            return mapped(Path(self.file))
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(f"{self.file} cannot be read: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_content"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._content = self._read()


def object_in(line: str | bytes, where: str) -> Row:
    """The object that a line of a file of JSON lines is.

    Args:
        line: one, not empty.
        where: its file and number, for messages.

    Raises:
        BadRowError: it is not JSON, or no object; names file and line.

    Example:
        >>> object_in('{"text": "hi"}', "a.jsonl, line 1")
        {'text': 'hi'}
    """
    try:
        found = json.loads(line if isinstance(line, str) else line.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError as error:
        raise BadRowError(f"{where}: {NOT_UTF8}") from error
    except (ValueError, RecursionError) as error:
        raise BadRowError(f"{where}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadRowError(f"{where}: expected an object, received {type(found).__name__}")
    return found


def _ends(content: Any) -> Iterator[int]:
    """Behind each line of a file."""
    end = content.find(b"\n")
    while end >= 0:
        yield end + 1
        end = content.find(b"\n", end + 1)
    yield len(content)
