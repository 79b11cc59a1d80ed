"""Graphs in a text file, as the authors of DGCNN and GIN write them: a graph is a row."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omniformer.data.sets.reading import text_in
from omniformer.data.table.npz import ArrayRows


class GraphLineRows(ArrayRows):
    r"""A text file of graphs with a class each: their number, then for each graph a line `nodes class`, and a line
    `kind degree neighbours...` for each of its nodes.

    The columns are `graph` and `y`. Classes and kinds are numbered by the order of the numbers in the file, edges are
    sorted.

    Args:
        file: the file.

    Raises:
        ValueError: it is of another form; names file and graph.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (file := Path(folder) / "pairs.txt").write_text("1\n2 5\n7 1 1\n8 1 0\n")
        ...     row = GraphLineRows(file).row(0)
        >>> row["graph"]["edges"].tolist(), row["y"]
        ([[0, 1], [1, 0]], 0)
    """

    def __init__(self, file: Path) -> None:
        super().__init__(file, arrays=_arrays(file))


def _arrays(file: Path) -> dict[str, NDArray]:
    """The graphs of a text file: their number, then for each graph `nodes class` and a line `kind degree neighbours...`
    for each node.
    """
    kinds, classes, ends = [], [], []
    node_ptr, edge_ptr = [0], [0]
    lines = iter(text_in(file).split("\n"))
    (n_graphs,) = _row(lines, file, "the number of graphs", 1)
    for graph in range(n_graphs):
        n_nodes, label = _row(lines, file, f"the nodes and the class of graph {graph}", 2)
        classes.append(label)
        first = len(kinds)
        for node in range(n_nodes):
            kind, degree, *neighbours = _row(lines, file, f"node {node} of graph {graph}", 2, more=True)
            if len(neighbours) != degree:
                raise ValueError(
                    f"{file}: node {node} of graph {graph} announces {degree} neighbours and names {len(neighbours)}"
                )
            kinds.append(kind)
            ends += [(first + node, first + other) for other in sorted(neighbours)]
        node_ptr.append(len(kinds))
        edge_ptr.append(len(ends))
    return {
        "y": np.unique(classes, return_inverse=True)[1],
        "node_label": np.unique(kinds, return_inverse=True)[1],
        "node_ptr": np.array(node_ptr),
        "edge_ptr": np.array(edge_ptr),
        "edge_index": np.array(ends, dtype=np.int64).reshape(-1, 2).T,
    }


def _row(lines: Iterator[str], file: Path, what: str, least: int, *, more: bool = False) -> list[int]:
    """The next line as whole numbers: so many, or at least so many."""
    line = next(lines, "")
    try:
        numbers = [int(word) for word in line.split()]
    except ValueError:
        numbers = []
    if len(numbers) < least or (len(numbers) > least and not more):
        raise ValueError(f"{file}: expected {what} as {least} whole numbers, received {line.strip()[:60]!r}")
    return numbers
