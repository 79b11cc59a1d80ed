"""Many small graphs in a few arrays: nodes and edges end to end, and where those of each graph begin."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike


class PackedGraphs:
    """Graphs that lie end to end; reading one costs four views.

    Args:
        where: the file they come from, for messages.
        node_ptr: graph k has the nodes `node_ptr[k]` up to `node_ptr[k + 1]`.
        edge_ptr: the same for its edges.
        edge_index: the two ends of each edge, numbered over all graphs.
        node_features: categories of each node.
        edge_features: categories of each edge; None where there are none.
        node_vocab_sizes: number of categories of each column of `node_features`.
        edge_vocab_sizes: the same for `edge_features`.

    Shapes:
        node_ptr, edge_ptr `[graphs + 1]`; edge_index `[2, edges]`; node_features `[nodes, fields]`; edge_features
        `[edges, fields]`.

    Raises:
        ValueError: arrays of different lengths, an edge that leaves its graph, a category out of range; names file and
            graph.

    Example:
        >>> packed = PackedGraphs(
        ...     where="a.npz", node_ptr=[0, 1, 3], edge_ptr=[0, 0, 2], edge_index=[[1, 2], [2, 1]],
        ...     node_features=[[0], [1], [0]], node_vocab_sizes=(2,),
        ... )
        >>> packed.graph(1)["edges"].tolist(), packed.graph(1)["node_features"].tolist()
        ([[0, 1], [1, 0]], [[1], [0]])
    """

    def __init__(
        self,
        *,
        where: Path | str,
        node_ptr: ArrayLike,
        edge_ptr: ArrayLike,
        edge_index: ArrayLike,
        node_features: ArrayLike,
        edge_features: ArrayLike | None = None,
        node_vocab_sizes: Sequence[int],
        edge_vocab_sizes: Sequence[int] = (),
    ) -> None:
        node_ptr, edge_ptr = np.asarray(node_ptr, dtype=np.int64), np.asarray(edge_ptr, dtype=np.int64)
        ends = np.asarray(edge_index, dtype=np.int64).reshape(2, -1)
        nodes = np.asarray(node_features, dtype=np.int64)
        n_edges = ends.shape[1]
        if len(node_ptr) != len(edge_ptr):
            raise ValueError(
                f"{where}: node_ptr has {len(node_ptr)} entries and edge_ptr {len(edge_ptr)}; need as many"
            )
        for name, pointer, total in (("node_ptr", node_ptr, len(nodes)), ("edge_ptr", edge_ptr, n_edges)):
            if not len(pointer) or pointer[0] != 0 or pointer[-1] != total or (np.diff(pointer) < 0).any():
                raise ValueError(f"{where}: {name} does not rise from 0 to {total}, the number of {name[:4]}s")
        owner = np.repeat(np.arange(len(edge_ptr) - 1), np.diff(edge_ptr))
        local = ends - node_ptr[owner]
        outside = ((local < 0) | (local >= np.diff(node_ptr)[owner])).any(0)
        if outside.any():
            edge = int(outside.argmax())
            raise ValueError(f"{where}: an edge of graph {owner[edge]} ends at {ends[:, edge].tolist()}, outside of it")
        _check(nodes, node_vocab_sizes, node_ptr, len(nodes), f"{where}: node")
        edges = None if edge_features is None else np.asarray(edge_features, dtype=np.int64)
        if edges is not None:
            _check(edges, edge_vocab_sizes, edge_ptr, n_edges, f"{where}: edge")
        self._node_ptr, self._edge_ptr = node_ptr.tolist(), edge_ptr.tolist()
        self._edges = torch.from_numpy(np.ascontiguousarray(local.T))
        self._node_features = torch.from_numpy(nodes)
        self._edge_features = None if edges is None else torch.from_numpy(edges)
        self.node_vocab_sizes = tuple(node_vocab_sizes)

    def __len__(self) -> int:
        return len(self._node_ptr) - 1

    def alike(self, *, without: Sequence[int] = ()) -> list[str]:
        """A name for each graph that does not depend on the order of its nodes: graphs of one name are the same as far
        as four rounds of Weisfeiler and Lehman's colours tell.

        Args:
            without: columns of the nodes that do depend on it, such as the turning sense of a stereo centre.
        """
        kept = [i for i in range(self._node_features.shape[1]) if i not in without]
        colours = _mixed_rows(self._node_features[:, kept].numpy())
        kinds = _mixed_rows(self._edge_features.numpy()) if self._edge_features is not None else np.uint64(1)
        starts = np.repeat(self._node_ptr[:-1], np.diff(self._edge_ptr))
        begin, end = self._edges.numpy().T + starts
        for _ in range(4):
            heard = np.zeros_like(colours)
            np.add.at(heard, begin, _mixed(colours[end] ^ kinds))
            colours = _mixed(colours + np.uint64(3) * heard)
        sums = np.concatenate([[np.uint64(0)], np.cumsum(_mixed(colours))])
        sizes = np.diff(self._node_ptr)
        return [f"{n} nodes {part:016x}" for n, part in zip(sizes, np.diff(sums[self._node_ptr]), strict=True)]

    def graph(self, index: int) -> dict[str, Any]:
        """One graph as `GraphTokenizer` takes it, its nodes numbered from 0.

        Shapes:
            edges int64 `[edges, 2]`; node_features int64 `[nodes, fields]`; edge_features int64 `[edges, fields]`.
        """
        nodes = slice(self._node_ptr[index], self._node_ptr[index + 1])
        edges = slice(self._edge_ptr[index], self._edge_ptr[index + 1])
        graph: dict[str, Any] = {
            "n_nodes": nodes.stop - nodes.start,
            "edges": self._edges[edges],
            "node_features": self._node_features[nodes],
        }
        if self._edge_features is not None:
            graph["edge_features"] = self._edge_features[edges]
        return graph


def _check(rows: np.ndarray, sizes: Sequence[int], pointer: np.ndarray, n: int, kind: str) -> None:
    """Refuses features of another shape, and categories out of range."""
    if rows.shape != (n, len(sizes)):
        raise ValueError(f"{kind} features have shape {list(rows.shape)}; expected [{n}, {len(sizes)}]")
    outside = (rows < 0) | (rows >= np.asarray(sizes))
    if outside.any():
        row, field = np.argwhere(outside)[0]
        graph = int(np.searchsorted(pointer, row, side="right")) - 1
        raise ValueError(
            f"{kind} field {field} is category {rows[row, field]} in graph {graph}; expected 0..{sizes[field] - 1}"
        )


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Numbers of 64 bits, each scattered over all of them (the finaliser of splitmix64)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))


def _mixed_rows(rows: np.ndarray) -> np.ndarray:
    """One number for each row, in which the order of its columns counts."""
    found = np.full(len(rows), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in rows.T:
        found = _mixed(found * np.uint64(31) + column.astype(np.uint64) + np.uint64(1))
    return found
