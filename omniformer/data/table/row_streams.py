"""Rows one after the other, without end: shards and sets of the hub that nobody has looked through before."""

import os
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omniformer.data.source import Split
from omniformer.data.splitting import names_apart
from omniformer.data.table.columnar import MappedRows
from omniformer.data.table.hub import PREFIX, names_of, saved_files, saved_folders, saved_names
from omniformer.data.table.rows import BadRowError, Row, Rows
from omniformer.data.table.splits import SYNONYMS

_OPEN = 16  # shards at a time
_SAVED = ("dataset_dict.json", "dataset_info.json")  # of which one lies in a folder of `save_to_disk`


class RowStream(ABC):
    """The rows of a set by their numbers from 0, pass after pass: behind the last one comes the first again.

    Rows far from those that were asked for before are slow to come by, near ones fast. A stream pickles, and what is
    open stays behind.
    """

    columns: tuple[str, ...]
    name: str

    @abstractmethod
    def row(self, number: int) -> tuple[Row, str, Path | None]:
        """A row, where it stands (the same in every pass), and the folder from which paths in its cells count.

        Raises:
            BadRowError: it cannot be read.
        """

    @abstractmethod
    def class_names(self, column: str) -> tuple[str, ...]:
        """The names that a column of class numbers stands for, where the format says so."""


class ShardStream(RowStream):
    """Files one after the other, each opened when its rows are asked for, of which it is then known how many there are.

    Args:
        files: in the order in which they are read.
        read: opens one.
        name: what they are called together.

    Example:
        >>> from omniformer.data.table.columnar import ArrowRows
        >>> import pyarrow
        >>> def read(file):
        ...     return ArrowRows(pyarrow.table({"word": [f"{file.name}{i}" for i in range(2)]}), file)
        >>> stream = ShardStream([Path("a"), Path("b")], read, "words")
        >>> [stream.row(number)[0]["word"] for number in range(6)]
        ['a0', 'a1', 'b0', 'b1', 'a0', 'a1']
    """

    def __init__(self, files: Sequence[Path], read: Callable[[Path], Rows], name: str) -> None:
        self.files, self.read, self.name = list(files), read, name
        self.names = names_apart(self.files)
        self.ends: list[int] = []  # of the shards that were opened so far, the number behind their last row
        self._shards: OrderedDict[int, Rows] = OrderedDict()
        self.columns = self._shard(0).columns

    def row(self, number: int) -> tuple[Row, str, Path | None]:
        shard, inner = self._place(number)
        rows = self._shard(shard)
        return rows.row(inner), f"{self.names[shard]}, {rows.place(inner)}", rows.folder

    def class_names(self, column: str) -> tuple[str, ...]:
        return self._shard(0).class_names(column)

    def _place(self, number: int) -> tuple[int, int]:
        """The shard of a row, and its number there."""
        while number >= self._counted and len(self.ends) < len(self.files):
            self.ends.append(self._counted + len(self._shard(len(self.ends))))
        if not self._counted:
            raise ValueError(f"{self.name}: there are no rows in {len(self.files)} files")
        number %= self._counted  # which is all there are, or more than the number
        shard = bisect_right(self.ends, number)
        return shard, number - (self.ends[shard - 1] if shard else 0)

    @property
    def _counted(self) -> int:
        return self.ends[-1] if self.ends else 0

    def _shard(self, number: int) -> Rows:
        if number not in self._shards:
            self._shards[number] = self.read(self.files[number])
            while len(self._shards) > _OPEN:
                self._shards.popitem(last=False)
        self._shards.move_to_end(number)
        return self._shards[number]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_shards": OrderedDict()}


class HubStream(RowStream):
    """A set that the library `datasets` streams: read forwards alone, the rows of two windows kept.

    Args:
        dataset: a `datasets.IterableDataset`, or what iterates anew over rows and has `skip`.
        name: what it is called.
        window: within so many neighbours rows are asked for in any order.
    """

    def __init__(self, dataset: Any, name: str, window: int) -> None:
        self.dataset, self.name, self.window = dataset, name, window
        self.length: int | None = None  # of a pass, once it is known
        self._begin(0)
        self.columns = tuple(self.row(0)[0])

    def row(self, number: int) -> tuple[Row, str, Path | None]:
        known = self._process == os.getpid()  # what another process reads is not where it was left
        if not known or number > self._next + 2 * self.window or (number < self._next and number not in self._kept):
            self._begin(max(number - self.window, 0))
        while self._next <= number:
            self._kept[self._next] = next(self._rows)
            self._next += 1
        for old in [each for each in self._kept if each < number - 2 * self.window]:
            del self._kept[old]
        row, place = self._kept[number]
        return row, f"{self.name}, row {place + 1}", None

    def class_names(self, column: str) -> tuple[str, ...]:
        return names_of(getattr(self.dataset, "features", None), column)

    def _begin(self, number: int) -> None:
        self._kept: dict[int, tuple[Row, int]] = {}
        self._next, self._rows, self._process = number, self._endless(number), os.getpid()

    def _endless(self, number: int) -> Iterator[tuple[Row, int]]:
        """The rows from a number on, each with its place in a pass."""
        start = number if self.length is None else number % self.length
        while True:
            place = start
            for row in self._read(start):
                yield row, place
                place += 1
            if place == start and self.length is None and start:  # it begins behind the end, wherever that is
                self.length = sum(1 for _ in self._read(0))
                start = number % max(self.length, 1)
                continue
            self.length, start = place, 0
            if not place:
                raise BadRowError(f"{self.name}: there are no rows")

    def _read(self, start: int) -> Iterator[Mapping[str, Any]]:
        yield from self.dataset.skip(start) if start else self.dataset

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_rows": None, "_kept": {}, "_process": 0}


def hub_stream(name: str, split: Split, *, config: str | None, download: bool, window: int) -> RowStream | None:
    """A split of a set of the hub, of a folder that `save_to_disk` wrote, or of a folder of data files, as a stream;
    None where it has no such split.

    Args:
        name: the folder or the name, without `hf:`.
        split: `train`, `val` or `test`, also by their other names.
        config: which of the set's configurations.
        download: whether it may be read from the hub.
        window: see `HubStream`.

    Raises:
        FileNotFoundError: there is no such folder, and `download` is off.
        ImportError: the library is not installed.
        ValueError: it cannot be read; names it.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir() and not download:
        raise FileNotFoundError(f"no folder {str(folder)!r}; {PREFIX}{name} is read from the hub with download=true")
    if any((folder / file).is_file() for file in _SAVED):
        return _saved_stream(folder, split)
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            f"{PREFIX}{name} is streamed by the library datasets, which is not installed: pip install datasets"
        ) from error
    try:
        found = datasets.load_dataset(str(folder) if folder.is_dir() else name, config, streaming=True)
    except Exception as error:  # of many kinds, of the hub, of files and of the library
        raise ValueError(f"{PREFIX}{name} cannot be streamed: {' '.join(str(error).split())}") from error
    own = next((key for key in found if SYNONYMS.get(str(key)) == split), None)
    return None if own is None else HubStream(found[own].decode(False), f"{PREFIX}{name}, {own}", window)


def _saved_stream(folder: Path, split: Split) -> ShardStream | None:
    folders = saved_folders(folder)
    own = next((each for name, each in folders.items() if SYNONYMS.get(name or "train") == split), None)
    if own is None:
        return None
    return ShardStream(saved_files(own), partial(MappedRows, names=saved_names(own)), f"{PREFIX}{own}")
