"""Folders of tar shards in the manner of webdataset: files whose names begin alike are one row."""

import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omniformer.data.table.rows import BadRowError, Row, Rows

KEY = "__key__"  # the column of what the names of a row's files begin with
_TEXTS = ("txt", "text", "caption", "cls", "label", "transcript", "id")


class ShardRows(Rows):
    """A tar archive of which nothing is unpacked: `a/001.jpg`, `a/001.txt` and `a/001.json` are the row `a/001` with
    the columns `jpg`, `txt` and `json`.

    Where files lie in the archive is found once, by its headers. Texts are read as UTF-8, JSON as its values, all
    others as the bytes of a file.

    Args:
        file: the archive, not compressed.

    Raises:
        ValueError: it cannot be read, or is compressed; names it.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.name = file, str(file)
        self.entries: dict[str, dict[str, tuple[int, int]]] = {}
        try:
            with tarfile.open(file, mode="r:") as archive:
                for member in archive:
                    if member.isfile() and not Path(member.name).name.startswith("."):
                        self._add(member, file.stat().st_size)
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            raise ValueError(f"{file} cannot be read as a tar archive that is not compressed: {error}") from error
        self.keys = list(self.entries)

    def _add(self, member: tarfile.TarInfo, n_bytes: int) -> None:
        if member.issparse() or member.offset_data + member.size > n_bytes:
            raise ValueError(f"{member.name!r} says that it has {member.size} bytes, which do not lie in it")
        folder, _, last = member.name.rpartition("/")
        stem, _, suffix = last.partition(".")
        key = f"{folder}/{stem}" if folder else stem
        files = self.entries.setdefault(key, {})
        if suffix.lower() in files:
            raise ValueError(f"it holds {member.name!r} twice")
        files[suffix.lower()] = (member.offset_data, member.size)

    @property
    def columns(self) -> tuple[str, ...]:
        return (KEY, *dict.fromkeys(suffix for files in self.entries.values() for suffix in files))

    def __len__(self) -> int:
        return len(self.keys)

    def row(self, index: int) -> Row:
        return self._row(index, None)

    def each(self, columns: Sequence[str]) -> Iterator[Row | BadRowError]:
        for index in range(len(self)):
            try:
                yield self._row(index, columns)
            except BadRowError as error:
                yield error

    def read_from(self) -> list[Path] | None:
        return [Path(self.file)]

    def place(self, index: int) -> str:
        return self.keys[index]

    def heavy(self) -> frozenset[str]:
        return frozenset(name for name in self.columns if name != KEY and name not in (*_TEXTS, "json"))

    def _row(self, index: int, columns: Sequence[str] | None) -> Row:
        key = self.keys[index]
        found: dict[str, Any] = {KEY: key}
        with Path(self.file).open("rb") as stream:
            for suffix, (start, size) in self.entries[key].items():
                if columns is None or suffix in columns:
                    stream.seek(start)
                    found[suffix] = self._cell(suffix, stream.read(size), key)
        return found

    def _cell(self, suffix: str, content: bytes, key: str) -> Any:
        try:
            if suffix == "json":
                return json.loads(content)
            return content.decode("utf-8-sig").strip() if suffix in _TEXTS else content
        except (ValueError, RecursionError) as error:
            raise BadRowError(f"{self.file}, {key}.{suffix}: cannot be read: {error}") from error
