"""Zip archives of files as a table: a file is a row."""

import os
import re
import zipfile
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from omniformer.data.sets.reading import check_unpacked, member_in, opened_zip
from omniformer.data.table.lines import parts_of
from omniformer.data.table.rows import BadRowError, FileRows, Row


class ZipRows(FileRows):
    r"""A zip archive, of which nothing is unpacked: a file in it is a row, in the order of names, whose numbers count.

    The columns are `content`, the bytes of the file, read when they are asked for; `file`, its name in the archive; and
    the parts of that name which a pattern names.

    Args:
        file: the archive.
        only: which of its files are rows, such as `*.wav`.
        pattern: what to look for in the name of each: each named group is a column.

    Raises:
        ValueError: it is no archive, unfolds into more than `omniformer_tokenizers.limits` accept, holds no such file,
            or one of another name; names archive and file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with zipfile.ZipFile(path := Path(folder) / "a.zip", "w") as archive:
        ...         archive.writestr("dog/1.ogg", b"wau")
        ...     ZipRows(path, "*.ogg", r"(?P<kind>\w+)/").row(0)
        {'content': b'wau', 'file': 'dog/1.ogg', 'kind': 'dog'}
    """

    def __init__(self, file: Path, only: str = "*", pattern: str | None = None) -> None:
        self.file, self.name = file, str(file)
        self._open()
        found = [name for name in self._archive.namelist() if fnmatchcase(name, only) and not name.endswith("/")]
        self.members = sorted(found, key=_place)
        if not self.members:
            raise ValueError(f"{file} holds no file {only!r}; fetch it anew, or name others behind '::'")
        try:
            check_unpacked([self._archive.getinfo(name) for name in self.members])
        except ValueError as error:
            raise ValueError(f"{file} cannot be read: {error}") from error
        self.parts = [parts_of(name, pattern, f"{file}: {name!r}") if pattern else {} for name in self.members]

    @property
    def columns(self) -> tuple[str, ...]:
        return ("content", "file", *self.parts[0])

    def __len__(self) -> int:
        return len(self.members)

    def place(self, index: int) -> str:
        return self.members[index]

    def heavy(self) -> frozenset[str]:
        return frozenset({"content"})

    def _row(self, index: int, columns: Sequence[str]) -> Row:
        name = self.members[index]
        content: dict[str, Any] = {}
        if "content" in columns:
            if self._process != os.getpid():  # a worker that was forked would move its parent's place in the file
                self._open()
            try:
                content["content"] = member_in(self._archive, name)
            except ValueError as error:
                raise BadRowError(str(error)) from error
            if not content["content"]:
                raise BadRowError(f"{self.file}: {name!r} is an empty file; fetch the archive anew")
        return {**content, "file": name, **self.parts[index]}

    def _open(self) -> None:
        self._archive: zipfile.ZipFile = opened_zip(Path(self.file))
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_archive"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()


def _place(name: str) -> list[Any]:
    """The place of a name among others: `a_2` comes before `a_10`."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]
