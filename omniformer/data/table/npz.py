"""Arrays as a table: entry i of each array is a cell of row i."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from omniformer.data.sets.arrays import array_names, read_arrays
from omniformer.data.table.packed_files import packed_files
from omniformer.data.table.packed_graphs import PackedGraphs
from omniformer.data.table.rows import BadRowError, Row, Rows

_CHANNELS = (1, 3, 4)
_GRAPHS = ("node_ptr", "edge_ptr", "edge_index", "node_label")


class ArrayRows(Rows):
    """An npz file of arrays with as many entries each: numbers, rows of numbers, or uint8 pictures `[rows, height,
    width, channels]` or `[rows, channels, height, width]`.

    Graphs that lie end to end (`node_ptr`, `edge_ptr`, `edge_index`, `node_label`, see `PackedGraphs`) are the column
    `graph`; bytes of files end to end that an array `offset` cuts, whose entries are one more, the column `content`.
    Arrays of other lengths are no columns.

    Args:
        file: the file; nothing in it can run.
        only: which arrays: one by name, which is the column `content`, or those of a pattern, `train_*`, each called
            what stands for the asterisk. None takes all.
        arrays: by name, where the file is of another format; None reads it.

    Raises:
        ValueError: it cannot be read, holds no column, or arrays of graphs or of files do not fit; names it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(file := Path(folder) / "a.npz", x=np.zeros((2, 4, 4, 3), np.uint8), y=[3, 1])
        ...     row = ArrayRows(file).row(1)
        >>> row["x"].shape, row["y"]
        (torch.Size([3, 4, 4]), 1)
    """

    def __init__(self, file: Path, only: str | None = None, *, arrays: Mapping[str, NDArray] | None = None) -> None:
        self.file, self.name = file, str(file)
        arrays = _some(file, only) if arrays is None else arrays
        self.graphs = _graphs(file, arrays) if "node_ptr" in arrays else None
        self.packed, arrays = packed_files(file, arrays)
        flat = {name: array for name, array in arrays.items() if array.ndim and name not in _GRAPHS}
        whole = self.graphs if self.graphs is not None else self.packed
        self.length = len(whole) if whole is not None else max(map(len, flat.values()), default=0)
        self.arrays = {name: array for name, array in flat.items() if len(array) == self.length}
        if not self.arrays and self.packed is None:
            raise ValueError(f"{file} holds no array with one entry for each row")

    @property
    def columns(self) -> tuple[str, ...]:
        ends = {"graph": self.graphs, "content": self.packed}
        return (*self.arrays, *(name for name, each in ends.items() if each is not None))

    def __len__(self) -> int:
        return self.length

    def row(self, index: int) -> Row:
        return self._row(index, self.columns)

    def each(self, columns: Sequence[str]) -> Iterator[Row | BadRowError]:
        return (self._row(index, columns) for index in range(len(self)))

    def heavy(self) -> frozenset[str]:
        pictures = {name for name, array in self.arrays.items() if array.ndim > 2}
        return frozenset({"graph", *pictures, *(["content"] if self.packed is not None else [])})

    def facts(self) -> Mapping[str, Any]:
        return {} if self.graphs is None else {"node_vocab_sizes": self.graphs.node_vocab_sizes}

    def _row(self, index: int, columns: Sequence[str]) -> Row:
        return {name: self._cell(name, index) for name in columns}

    def _cell(self, name: str, index: int) -> Any:
        if name in self.arrays:
            return _cell(self.arrays[name][index])
        if name == "content" and self.packed is not None:
            return self.packed.file(index)
        return None if self.graphs is None else self.graphs.graph(index)


def _some(file: Path, only: str | None) -> dict[str, NDArray]:
    """The arrays that are asked for, by what they are called as columns."""
    there = array_names(file)
    if only is None:
        return read_arrays(file, there)
    if only in there:
        return {"content": read_arrays(file, [only])[only]}
    before, _, behind = only.partition("*")
    found = [name for name in there if "*" in only and fnmatchcase(name, only)]
    if not found:
        raise ValueError(f"{file} has no array {only!r}; it has {', '.join(there)}")
    return {name[len(before) : len(name) - len(behind)]: array for name, array in read_arrays(file, found).items()}


def _cell(entry: Any) -> Any:
    """An entry of an array as tables have cells; a picture with its channels first."""
    if getattr(entry, "ndim", 0) < 2:
        return entry.tolist()
    picture = torch.from_numpy(np.ascontiguousarray(entry))
    if picture.ndim == 2:
        return picture[None]
    first = picture.ndim != 3 or (picture.shape[0] in _CHANNELS and picture.shape[2] not in _CHANNELS)
    return picture if first else picture.permute(2, 0, 1).contiguous()


def _graphs(file: Path, arrays: Mapping[str, NDArray]) -> PackedGraphs:
    if lacking := [name for name in _GRAPHS if name not in arrays]:
        raise ValueError(f"{file} has no array {lacking[0]!r}; graphs must hold {', '.join(_GRAPHS)}")
    kinds = arrays["node_label"].astype(np.int64).reshape(len(arrays["node_label"]), -1)
    return PackedGraphs(
        where=file,
        node_ptr=arrays["node_ptr"],
        edge_ptr=arrays["edge_ptr"],
        edge_index=arrays["edge_index"],
        node_features=kinds,
        node_vocab_sizes=tuple((1 + kinds.max(0)).tolist()) if len(kinds) else (1,) * kinds.shape[1],
    )
