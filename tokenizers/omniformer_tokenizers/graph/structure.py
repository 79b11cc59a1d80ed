"""Tokens of a graph that are not nodes: a virtual node, and edges as tokens.

Where a graph has such tokens, the feature `kind` tells them apart: 0 node, 1 virtual node, 2 edge. What only nodes
have, is zero in the others: their values, their degree, their random walks.
"""

import torch
from torch import Tensor
from torch.nn import functional

NODE, VIRTUAL, EDGE = 0, 1, 2

Parts = tuple[Tensor, dict[str, Tensor], Tensor, Tensor | None]


def with_edge_tokens(
    values: Tensor, features: dict[str, Tensor], edges: Tensor, edge_features: Tensor | None, *, directed: bool
) -> Parts:
    """The parts of a graph with one more token for each edge, after the nodes (TokenGT, Kim et al. 2022).

    An edge's token is joined to both its ends in both directions. Its own features become the token feature `edge`,
    zero for nodes. `laplacian` becomes twice as wide: the vectors of the source and of the target, both the same for a
    node, which is how a token tells where it belongs.

    Shapes:
        values `[nodes, ...]`, edges `[2, edges]`; returned: `[nodes + m, ...]` and `[2, 4 * m]` for m edges (2 * m for
        loops), where an undirected edge, stored in both directions, counts once.
    """
    n = len(values)
    if not directed:
        once = _first_directions(edges)
        edges, edge_features = edges[:, once], None if edge_features is None else edge_features[once]
    m = edges.shape[1]
    token = torch.arange(n, n + m)
    loop = edges[0] == edges[1]
    joined = torch.cat(
        [
            torch.stack([edges[0], token]),
            torch.stack([token, edges[1]]),
            torch.stack([token, edges[0]])[:, ~loop],
            torch.stack([edges[1], token])[:, ~loop],
        ],
        dim=1,
    )
    wider = {name: _longer(feature, m) for name, feature in features.items() if name != "laplacian"}
    if "laplacian" in features:
        ends = torch.cat([torch.arange(n).expand(2, n), edges], dim=1)
        wider["laplacian"] = features["laplacian"][ends].transpose(0, 1).flatten(1)
    if edge_features is not None:
        wider["edge"] = torch.cat([edge_features.new_zeros(n, *edge_features.shape[1:]), edge_features])
    return _longer(values, m), wider, joined, None


def with_virtual_node(
    values: Tensor, features: dict[str, Tensor], edges: Tensor, edge_features: Tensor | None
) -> Parts:
    """The parts of a graph with one more token at the end, joined to every other in both directions.

    Its edges have zero features.
    """
    n = len(values)
    others, hub = torch.arange(n), torch.full((n,), n)
    joined = torch.cat([edges, torch.stack([others, hub]), torch.stack([hub, others])], dim=1)
    longer = None if edge_features is None else _longer(edge_features, 2 * n)
    return _longer(values, 1), {name: _longer(f, 1) for name, f in features.items()}, joined, longer


def with_kinds(features: dict[str, Tensor], n_nodes: int, n_tokens: int, *, virtual_node: bool) -> dict[str, Tensor]:
    """The features with `kind`: nodes first, then edges, and the virtual node last."""
    kind = torch.full((n_tokens,), EDGE)
    kind[:n_nodes] = NODE
    if virtual_node:
        kind[-1] = VIRTUAL
    return {**features, "kind": kind}


def with_others(distances: Tensor, n_tokens: int) -> Tensor:
    """Distances between nodes, with rows and columns of -1 (no path) for tokens that are no nodes."""
    others = n_tokens - len(distances)
    return functional.pad(distances, (0, others, 0, others), value=-1)


def _first_directions(edges: Tensor) -> Tensor:
    """Which edges to keep so that of each pair of opposite edges one is left: the one from the lower node."""
    return (edges[0] <= edges[1]).nonzero()[:, 0]


def _longer(rows: Tensor, n: int) -> Tensor:
    """The rows and `n` rows of zeros after them."""
    return functional.pad(rows, (0, 0) * (rows.ndim - 1) + (0, n))
