"""Where a node stands in its graph, as numbers: degree, Laplacian eigenvectors, random walks, shortest paths.

Graphs come many at a time: those of equal size share one call of the linear algebra library, which is what makes ten
thousand molecules cheap.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omniformer_tokenizers._checks import need

# Beyond this size a dense matrix of the graph costs more than a sparse method.
DENSE_NODES = 1024
_BATCH_NUMBERS = 4_000_000
_DENSE_PART = 256  # of a large graph, connected parts up to this size are solved many at a time
_FULL = 0.05  # with more of its numbers present, a sparse matrix is slower than an ordinary one
MAX_PAIRS = 400_000_000  # distances between 20,000 nodes, 0.8 GB


def degrees(edges: Tensor, n_nodes: int) -> Tensor:
    """How many edges end at each node.

    Shapes:
        edges int64 `[2, edges]`; returns int64 `[n_nodes]`.
    """
    return torch.bincount(edges[1], minlength=n_nodes)


def laplacian_eigenvectors(graphs: Sequence[tuple[Tensor, int]], k: int) -> list[Tensor]:
    """The `k` eigenvectors of the normalised Laplacian with the smallest eigenvalues that are not 0.

    From Dwivedi and Bresson 2020. The matrix is I - D^-1/2 A D^-1/2, edge directions ignored; the row of a node
    without edges is zero. There is one eigenvalue 0 for each connected component; their eigenvectors tell components
    and degrees apart but nothing of the shape, so they are left out. Columns that do not exist are zero.

    An eigenvector's sign means nothing. Here the sum of its cubes is positive, which does not depend on the order of
    the nodes, except for vectors that a symmetry of the graph turns into their opposite; training should flip signs
    at random (`augment.flip_signs`). Where an eigenvalue occurs several times, so does a choice of its vectors.

    Args:
        graphs: pairs (edges, number of nodes); both directions of undirected edges or one, but the same for all.
        k: how many.

    Shapes:
        edges int64 `[2, edges]`; returns float32 `[nodes, k]` for each graph.

    Example:
        >>> import torch
        >>> triangle = torch.tensor([[0, 1, 2, 1, 2, 0], [1, 2, 0, 0, 1, 2]])
        >>> [vectors.shape for vectors in laplacian_eigenvectors([(triangle, 3), (triangle, 4)], k=5)]
        [torch.Size([3, 5]), torch.Size([4, 5])]
    """
    return _by_size(graphs, k, dense=_dense_eigenvectors, sparse=_sparse_eigenvectors)


def random_walks(graphs: Sequence[tuple[Tensor, int]], k: int) -> list[Tensor]:
    """The probabilities that a random walk is back at its start after 1, 2, ..., `k` steps (Dwivedi et al. 2022).

    Each step follows one of the edges that leave a node, all equally likely; where none leaves, the walk ends.

    Shapes:
        as in `laplacian_eigenvectors`.
    """
    return _by_size(graphs, k, dense=_dense_walks, sparse=_sparse_walks)


def shortest_paths(edges: Tensor, n_nodes: int, *, longest: int) -> Tensor:
    """The number of edges on a shortest path between each two nodes, as Graphormer's bias needs it.

    A row belongs to the node that attends, as a query's does in attention: what counts are paths along the edges from
    the column's node to the row's.

    Args:
        edges: directed edges; give both directions of undirected ones.
        n_nodes: number of nodes.
        longest: longer paths count as `longest`.

    Raises:
        ValueError: there are more than 20,000 nodes, whose distances do not fit into memory.

    Shapes:
        edges int64 `[2, edges]`; returns int16 `[n_nodes, n_nodes]`, -1 where there is no path.
    """
    if not n_nodes:
        return torch.zeros(0, 0, dtype=torch.int16)
    graph = need("scipy.sparse.csgraph", "shortest paths")
    if n_nodes**2 > MAX_PAIRS:
        raise ValueError(
            f"shortest_path of a graph of {n_nodes} nodes is a number for each of {n_nodes**2} pairs; at most "
            f"{MAX_PAIRS} are accepted, set shortest_path=0"
        )
    counts = _sparse_counts(edges.flip(0), n_nodes)  # walked backwards, from where the paths end
    capped = np.empty((n_nodes, n_nodes), dtype=np.int16)
    rows = max(1, _BATCH_NUMBERS // n_nodes)
    # Where each edge leads both ways, parts of the graph say whether there is a path, and no long one need be walked.
    both_ways = (counts != counts.T).nnz == 0
    part = graph.connected_components(counts, directed=False)[1] if both_ways else np.arange(n_nodes)
    limit = longest if both_ways else np.inf
    for start in range(0, n_nodes, rows):
        nodes = np.arange(start, min(start + rows, n_nodes))
        lengths = graph.dijkstra(counts, unweighted=True, indices=nodes, limit=limit)
        without = np.where(part[nodes, None] == part[None], longest, -1)
        capped[nodes] = np.where(np.isinf(lengths), without, np.minimum(lengths, longest))
    return torch.from_numpy(capped)


def pair_distances(graphs: Sequence[tuple[Tensor, int]], longest: int) -> list[Tensor]:
    """`shortest_paths` of many graphs."""
    return [shortest_paths(edges, n_nodes, longest=longest) for edges, n_nodes in graphs]


def _by_size(
    graphs: Sequence[tuple[Tensor, int]],
    k: int,
    *,
    dense: Callable[[np.ndarray, int], np.ndarray],
    sparse: Callable[[Tensor, int, int], np.ndarray],
) -> list[Tensor]:
    """Runs `dense` on stacks of graphs of one size, and `sparse` on each large graph."""
    results: list[Tensor | None] = [None] * len(graphs)
    groups: dict[int, list[int]] = {}
    for i, (edges, n) in enumerate(graphs):
        if not n or not k:
            results[i] = torch.zeros(n, k)
        elif n > DENSE_NODES:
            results[i] = torch.from_numpy(sparse(edges, n, k)).float()
        else:
            groups.setdefault(n, []).append(i)
    for n, members in groups.items():
        step = max(1, _BATCH_NUMBERS // n**2)
        for start in range(0, len(members), step):
            chunk = members[start : start + step]
            out = torch.from_numpy(dense(_dense_counts([graphs[i][0] for i in chunk], n), k)).float()
            for i, rows in zip(chunk, out.unbind(0), strict=True):
                results[i] = rows
    return [result for result in results if result is not None]


def _dense_counts(edges: Sequence[Tensor], n: int) -> np.ndarray:
    """The numbers of edges from each node to each other; float64 `[graphs, n, n]`."""
    places = [edge[0] * n + edge[1] + i * n * n for i, edge in enumerate(edges)]
    return np.bincount(torch.cat(places).numpy(), minlength=len(edges) * n * n).reshape(-1, n, n).astype(np.float64)


def _dense_eigenvectors(counts: np.ndarray, k: int) -> np.ndarray:
    # The sum of both directions; the normalised Laplacian does not feel that symmetric graphs are counted twice.
    counts = counts + counts.transpose(0, 2, 1)
    degree = counts.sum(2)
    scale = np.where(degree > 0, 1 / np.sqrt(np.maximum(degree, 1)), 0.0)
    laplacian = -scale[:, :, None] * counts * scale[:, None, :]
    diagonal = np.arange(counts.shape[1])
    laplacian[:, diagonal, diagonal] += degree > 0
    eigenvalues, vectors = np.linalg.eigh(laplacian)
    zeros = (eigenvalues < 1e-8).sum(1)
    columns = zeros[:, None] + np.arange(k)
    exists = columns < counts.shape[1]
    chosen = np.take_along_axis(vectors, np.minimum(columns, counts.shape[1] - 1)[:, None, :], axis=2)
    return np.where(exists[:, None, :], _signed(chosen), 0.0)


def _sparse_eigenvectors(edges: Tensor, n: int, k: int) -> np.ndarray:
    """The eigenvectors of each connected part by itself, and of all parts together the `k` smallest.

    Nodes without neighbours have none. A part has the eigenvalue 0 once, so its smallest is left out, however small
    the others are.
    """
    csgraph = need("scipy.sparse.csgraph", "Laplacian eigenvectors of large graphs")
    counts = _sparse_counts(edges, n)
    counts = (counts + counts.T).tocsr()
    n_parts, part = csgraph.connected_components(counts, directed=False)
    sizes = np.bincount(part, minlength=n_parts)
    by_part, starts = part.argsort(kind="stable"), np.cumsum(sizes) - sizes
    local = np.empty(n, dtype=np.int64)
    local[by_part] = np.arange(n) - starts[part[by_part]]

    best: list[tuple[float, np.ndarray, np.ndarray]] = []  # eigenvalue, nodes, vector
    for size in np.unique(sizes[sizes > 1]).tolist():
        parts = (sizes == size).nonzero()[0]
        small = size <= max(_DENSE_PART, k + 2)
        step = max(1, _BATCH_NUMBERS // size**2) if small else 1
        for start in range(0, len(parts), step):
            chunk = parts[start : start + step]
            nodes = by_part[starts[chunk][:, None] + np.arange(size)]
            rows = counts[nodes.reshape(-1)]
            if small:
                values, vectors = _eigenpairs(_blocks(rows, local, len(chunk), size), k)
            else:
                values, vectors = _smallest_eigenpairs(rows[:, nodes[0]], k)
            found = [(float(values[i, j]), nodes[i], vectors[i, :, j]) for i, j in np.ndindex(*values.shape)]
            best = sorted(best + found, key=lambda each: round(each[0], 10))[:k]

    out = np.zeros((n, k))
    for column, (_, nodes, vector) in enumerate(best):
        out[nodes, column] = vector
    return _signed(out[None])[0]


def _blocks(rows: Any, local: np.ndarray, n_parts: int, size: int) -> np.ndarray:
    """The counts within parts of one size, whose rows follow each other; float64 `[n_parts, size, size]`."""
    entries = rows.tocoo()
    places = entries.row.astype(np.int64) * size + local[entries.col]
    return np.bincount(places, weights=entries.data, minlength=n_parts * size**2).reshape(n_parts, size, size)


def _eigenpairs(counts: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues `[parts, k]` and vectors `[parts, size, k]` of connected parts, without the first, which is 0."""
    scale = 1 / np.sqrt(counts.sum(2))
    values, vectors = np.linalg.eigh(np.eye(counts.shape[1]) - scale[:, :, None] * counts * scale[:, None, :])
    return values[:, 1 : k + 1], vectors[:, :, 1 : k + 1]


def _smallest_eigenpairs(counts: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
    """As `_eigenpairs`, of one large part, by inverse iteration."""
    sparse = need("scipy.sparse", "Laplacian eigenvectors of large graphs")
    linalg = need("scipy.sparse.linalg", "Laplacian eigenvectors of large graphs")
    scale = sparse.diags(1 / np.sqrt(np.asarray(counts.sum(1)).reshape(-1)))
    laplacian = (sparse.identity(counts.shape[0]) - scale @ counts @ scale).tocsc()
    # Just below 0 the shifted matrix is invertible, and the smallest eigenvalues converge first; a fixed start vector
    # makes the result repeatable.
    values, vectors = linalg.eigsh(laplacian, k=k + 1, sigma=-1e-6, v0=np.cos(np.arange(counts.shape[0])))
    order = values.argsort(kind="stable")[1:]
    return values[None, order], vectors[None][:, :, order]


def _dense_walks(counts: np.ndarray, k: int) -> np.ndarray:
    step = counts / np.maximum(counts.sum(2, keepdims=True), 1)
    walk, out = step, np.empty((*counts.shape[:2], k))
    for i in range(k):
        out[:, :, i] = np.diagonal(walk, axis1=1, axis2=2)
        walk = walk @ step if i + 1 < k else walk
    return out


def _sparse_walks(edges: Tensor, n: int, k: int) -> np.ndarray:
    """Where walks of half the length lead from each node, and whence others come: what meets has gone there and back.

    So no matrix holds more than what half the steps reach, of some thousand nodes at a time.
    """
    sparse = need("scipy.sparse", "random walks on large graphs")
    counts = _sparse_counts(edges, n)
    step = (sparse.diags(1 / np.maximum(np.asarray(counts.sum(1)).reshape(-1), 1)) @ counts).tocsr()
    back = step.T.tocsr()
    out = np.empty((n, k))
    rows = max(1, _BATCH_NUMBERS // n)
    for start in range(0, n, rows):
        block = slice(start, min(start + rows, n))
        forth, home = step[block], back[block]
        out[block, 0] = step.diagonal()[block]
        for i in range(1, k):
            out[block, i] = _meeting(forth, home)
            if i % 2:
                forth = _walked(forth, step)
            else:
                home = _walked(home, back)
    return out


def _walked(walks: Any, step: Any) -> Any:
    """One step further; as an ordinary matrix once a sparse one is no longer cheaper."""
    if isinstance(walks, np.ndarray):
        return (step.T @ walks.T).T
    walks = walks @ step
    return walks.toarray() if walks.nnz > _FULL * walks.shape[0] * walks.shape[1] else walks


def _meeting(forth: Any, home: Any) -> np.ndarray:
    """The sums over each row of the products of both."""
    if isinstance(forth, np.ndarray) and isinstance(home, np.ndarray):
        return np.einsum("ij,ij->i", forth, home)
    if isinstance(forth, np.ndarray):
        forth, home = home, forth
    return np.asarray(forth.multiply(home).sum(1)).reshape(-1)


def _sparse_counts(edges: Tensor, n: int) -> Any:
    sparse = need("scipy.sparse", "large graphs")
    source, target = edges.numpy()
    return sparse.coo_matrix((np.ones(len(source)), (source, target)), shape=(n, n)).tocsr()


def _signed(vectors: np.ndarray) -> np.ndarray:
    """The eigenvectors with a positive sum of cubes; `[graphs, nodes, k]`."""
    return vectors * np.where((vectors * vectors * vectors).sum(1, keepdims=True) < -1e-9, -1.0, 1.0)
