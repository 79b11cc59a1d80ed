"""Arrays of one large graph, in the few ways in which they are usually kept, as columns of nodes and of edges."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omniformer_tokenizers.limits import FREE_TEXT_BYTES, MAX_TEXT_BYTES, check_size
from scipy.sparse import csr_array

from omniformer.data.source import SPLITS

EDGES = "edge_index"
_PARTS = ("indices", "indptr", "shape")


def graph_columns(arrays: Mapping[str, NDArray], file: Path) -> dict[str, Any]:
    """The arrays of a graph as columns.

    Sparse matrices (`x_indices`, `x_indptr`, `x_shape` and maybe `x_data`, as `scipy.sparse` names the parts of rows)
    become one array `x`; a square one called `adj` or `adj_matrix` the edges, `edge_index`. Numbers of nodes
    (`train_idx`, `val_idx`, `test_idx`) or whether each counts (`train_mask`, ...) become the column `split`.

    Args:
        arrays: by name.
        file: theirs, for messages.

    Raises:
        ValueError: parts of a matrix do not fit each other, it would be too large, or numbers of nodes are out of
            range; names the file and the array.

    Example:
        >>> words = {"x_indices": np.array([2, 0]), "x_indptr": np.array([0, 1, 2]), "x_shape": np.array([2, 3])}
        >>> found = graph_columns(words | {"train_idx": np.array([1])}, Path("graph.npz"))
        >>> found["x"].tolist(), found["split"]
        ([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], [None, 'train'])
    """
    columns: dict[str, Any] = dict(arrays)
    sparse = [name.removesuffix("_shape") for name in arrays if name.endswith("_shape")]
    for name in sparse:
        if not all(f"{name}_{part}" in arrays for part in _PARTS):
            continue
        matrix = _matrix(arrays, name, file)
        for part in (*_PARTS, "data"):
            columns.pop(f"{name}_{part}", None)
        if name in ("adj", "adj_matrix"):
            columns[EDGES] = np.stack(matrix.nonzero()).astype(np.int64)
        else:
            columns[name] = _dense(matrix, f"{file}: {name!r}", file)
    if (split := _split(columns, file)) is not None:
        columns["split"] = split
    return columns


def _matrix(arrays: Mapping[str, NDArray], name: str, file: Path) -> csr_array:
    indices, indptr, shape = (arrays[f"{name}_{part}"] for part in _PARTS)
    values = arrays.get(f"{name}_data", np.ones(len(indices), np.float32))
    try:
        rows, width = (int(size) for size in shape)
        if indices.size and not 0 <= indices.min() <= indices.max() < width:
            raise ValueError(f"columns {indices.min()} to {indices.max()} of {width}")
        return csr_array((values.astype(np.float32), indices, indptr), shape=(rows, width))
    except (ValueError, TypeError) as error:
        parts = ", ".join(f"{name}_{part}" for part in _PARTS)
        raise ValueError(f"{file}: {parts} are no sparse matrix: {error}") from error


def _dense(matrix: csr_array, where: str, file: Path) -> NDArray:
    rows, width = (int(size) for size in matrix.shape or ())
    n = 4 * rows * width
    packed = file.stat().st_size if file.is_file() else n
    try:
        check_size(f"{n} bytes", n, "bytes", limit=MAX_TEXT_BYTES, free=FREE_TEXT_BYTES, n_bytes=packed)
    except ValueError as error:
        raise ValueError(f"{where} of {rows} x {width} numbers: {error}") from error
    return matrix.toarray()


def _split(columns: dict[str, Any], file: Path) -> list[str | None] | None:
    """The split of each node as arrays of numbers or of truth values say, which are then no columns any more."""
    said = {name: [columns.pop(each, None) for each in (f"{name}_idx", f"{name}_mask")] for name in SPLITS}
    if "split" in columns or not any(each is not None for pair in said.values() for each in pair):
        return None
    n = max((len(each) for name, each in columns.items() if name != EDGES and np.ndim(each)), default=0)
    split: list[str | None] = [None] * n
    for name, (numbers, mask) in said.items():
        for each in (numbers, None if mask is None else np.flatnonzero(mask)):
            if each is not None and each.size and not 0 <= each.min() <= each.max() < n:
                raise ValueError(f"{file}: nodes {each.min()} to {each.max()} are for {name}, of {n} nodes from 0")
            for number in [] if each is None else each.tolist():
                split[number] = name
    return split
