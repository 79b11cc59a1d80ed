"""Encodings of large graphs, computed once and kept on disk in a format that cannot run code."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

# Smaller graphs are computed faster than a file is opened.
SMALLEST = 129


def cached(
    graphs: Sequence[tuple[Tensor, int]],
    compute: Callable[[Sequence[tuple[Tensor, int]], int], list[Tensor]],
    k: int,
    *,
    name: str,
    folder: str | Path | None,
    square: bool = False,
) -> list[Tensor]:
    """`compute(graphs, k)`, where graphs of more than 128 nodes are looked up in `folder` first and stored there.

    The key is a digest of the edges, so a changed graph is computed anew; a damaged file is replaced.

    Args:
        graphs: pairs (edges, number of nodes).
        compute: one of `encodings`.
        k: its width.
        name: tells the kinds of encodings apart.
        folder: made when missing; None keeps nothing.
        square: whether `compute` gives a number for each pair of nodes instead of `k` for each node.
    """
    if folder is None:
        return compute(graphs, k)
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = [_path(Path(folder), edges, n, k, name) if n >= SMALLEST else None for edges, n in graphs]
    found = [_load(path, (n, n if square else k)) for path, (_, n) in zip(paths, graphs, strict=True)]
    missing = [i for i, rows in enumerate(found) if rows is None]
    for i, rows in zip(missing, compute([graphs[i] for i in missing], k), strict=True):
        found[i] = rows
        if (path := paths[i]) is not None:
            temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
            save_file({"rows": rows.contiguous()}, temporary)
            temporary.replace(path)
    return [rows for rows in found if rows is not None]


def _path(folder: Path, edges: Tensor, n: int, k: int, name: str) -> Path:
    digest = hashlib.sha256(f"{name} {k} {n} {edges.shape[1]} ".encode() + edges.contiguous().numpy().tobytes())
    return folder / f"{name}-{digest.hexdigest()[:40]}.safetensors"


def _load(path: Path | None, shape: tuple[int, int]) -> Tensor | None:
    if path is None or not path.is_file():
        return None
    try:
        rows = load_file(path)["rows"]
    except (SafetensorError, KeyError):
        return None
    return rows if rows.shape == shape else None
