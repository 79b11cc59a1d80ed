"""All graphs with up to seven nodes, and six yes-no questions about each."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

from omniformer.data.source import Raw, Source, Split
from omniformer.data.splitting import hashed_split


class GraphAtlas(Source):
    """The 1,253 graphs with at most seven nodes (Read and Wilson 1998, as in networkx), the one without nodes included.

    No two of them are isomorphic, so no held-out graph was seen in training under other node names. Split: 70 % train,
    10 % validation, 20 % test by the hash of the atlas number, fixed. The questions, exactly:

    - connected: there is a path between any two nodes, and there is a node;
    - bipartite: there is no cycle of odd length;
    - planar: it can be drawn in the plane without crossings;
    - Eulerian: it is connected and every node has even degree;
    - triangle: three nodes are joined pairwise;
    - Hamiltonian: there is a cycle through all nodes, of which there are at least three.

    Example:
        >>> atlas = GraphAtlas()
        >>> sum(len(atlas.split(name)) for name in ("train", "val", "test"))
        1253
    """

    modalities = ("graph",)

    @property
    def labels(self) -> tuple[str, ...]:
        """The six questions, in the order of the targets."""
        return tuple(_QUESTIONS)

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order."""
        return _splits()[name]


@cache  # a second and a half, and the same in every run of a process
def _splits() -> dict[Split, list[Raw]]:
    from networkx.generators.atlas import graph_atlas_g

    graphs = graph_atlas_g()
    ids = [f"atlas/{i}" for i in range(len(graphs))]
    split = hashed_split(ids, val=0.1, test=0.2)
    return {name: [_raw(ids[i], graphs[i]) for i in items] for name, items in split.items()}


def _raw(id: str, graph: Any) -> Raw:
    answers = torch.tensor([float(answer(graph)) for answer in _QUESTIONS.values()])
    content = {"n_nodes": len(graph), "edges": [[a, b] for a, b in graph.edges()]}
    return Raw(id=id, contents={"graph": content}, targets={"labels": answers})


def is_connected(graph: Any) -> bool:
    """Whether a path joins any two nodes; the graph without nodes has no component and is not connected."""
    import networkx

    return len(graph) > 0 and networkx.is_connected(graph)


def is_bipartite(graph: Any) -> bool:
    """Whether every cycle is of even length."""
    import networkx

    return networkx.is_bipartite(graph)


def is_planar(graph: Any) -> bool:
    """Whether the graph can be drawn in the plane without crossings."""
    import networkx

    return networkx.is_planar(graph)


def is_eulerian(graph: Any) -> bool:
    """Whether one closed walk takes every edge once, in a connected graph."""
    return is_connected(graph) and all(degree % 2 == 0 for _, degree in graph.degree())


def has_triangle(graph: Any) -> bool:
    """Whether three nodes are joined pairwise."""
    return any(set(graph[a]) & set(graph[b]) for a, b in graph.edges())


def is_hamiltonian(graph: Any) -> bool:
    """Whether a cycle visits every node once; the cycle needs at least three nodes."""
    if len(graph) < 3:
        return False
    start = next(iter(graph))

    def closes(node: Any, unseen: frozenset[Any]) -> bool:
        if not unseen:
            return start in graph[node]
        return any(closes(other, unseen - {other}) for other in graph[node] if other in unseen)

    return closes(start, frozenset(graph) - {start})


_QUESTIONS: dict[str, Callable[[Any], bool]] = {
    "connected": is_connected,
    "bipartite": is_bipartite,
    "planar": is_planar,
    "eulerian": is_eulerian,
    "triangle": has_triangle,
    "hamiltonian": is_hamiltonian,
}
