"""Lists in a JSON file as a table: an entry is a row."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from omniformer.data.sets.reading import text_in, text_of_member
from omniformer.data.table.rows import BadRowError, Row, Rows


class ListRows(Rows):
    """A list in a file of JSON (`.json`, also gzip-ed), whose entries are objects, or lists of so many cells.

    Args:
        file: the file; or a zip archive that holds it.
        key: under which the list stands in the file; None where the file is the list. Of an archive the name of the
            file, which is the list.
        names: of the cells, where entries are lists.

    Raises:
        ValueError: it is not JSON, has no such list, or entries of another form; names file and entry.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (file := Path(folder) / "a.json").write_text('{"train": [["hi", "greeting"]]}')
        ...     ListRows(file, "train", ["text", "intent"]).row(0)
        {'text': 'hi', 'intent': 'greeting'}
    """

    def __init__(self, file: Path, key: str | None = None, names: Sequence[str] | None = None) -> None:
        self.file, self.name, self.key = file, str(file), key
        packed = file.suffix.lower() == ".zip"
        try:
            read = json.loads(text_of_member(file, key or "") if packed else text_in(file))
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{file}{f': {key!r}' if packed else ''} is not JSON: {error}") from error
        key = None if packed else key
        found = read if key is None else read.get(key) if isinstance(read, dict) else None
        if not isinstance(found, list):
            there = f"; it has {', '.join(read)}" if isinstance(read, dict) else ""
            raise ValueError(f"{file} has no list {key!r}{there}; name a list of it behind '::'")
        self.rows = [self._row(index, entry, names) for index, entry in enumerate(found)]

    def _row(self, index: int, entry: object, names: Sequence[str] | None) -> Row:
        if isinstance(entry, dict):
            return entry
        if names is None or not isinstance(entry, list) or len(entry) != len(names):
            wanted = f"a list of {', '.join(names)}" if names else "an object; name the cells of lists with names=[...]"
            raise ValueError(f"{self.where(index)} is {str(entry)[:60]!r}; expected {wanted}")
        return dict(zip(names, entry, strict=True))

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for row in self.rows[:100] for name in row))

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, index: int) -> Row:
        return self.rows[index]

    def each(self, columns: Sequence[str]) -> Iterator[Row | BadRowError]:
        return iter(self.rows)

    def place(self, index: int) -> str:
        return f"entry {index + 1}" + (f" of {self.key!r}" if self.key else "")
