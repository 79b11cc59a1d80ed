"""Raw graphs from other libraries, dicts and files, in plain tensors and checked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omniformer_tokenizers.files import read_text
from omniformer_tokenizers.media import MediaError

# A few characters in a file may ask for any size.
MAX_NODES = 10_000_000
MAX_EDGES = 50_000_000
MAX_FILE_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graph:
    """A graph in plain tensors, whatever library it came from.

    Shapes:
        edges int64 `[2, edges]`; node_features `[nodes, ...]`; edge_features `[edges, ...]`; continuous `[nodes, ...]`,
        once the node features have been split into categories and numbers.
    """

    n_nodes: int
    edges: Tensor
    node_features: Tensor | None = None
    edge_features: Tensor | None = None
    continuous: Tensor | None = None


def both_directions(edges: Tensor, features: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """The edges with the opposite added of every edge that has none; parallel edges are matched one by one.

    Edges that already come in both directions, as PyG stores undirected graphs, stay as they are; loops are their own
    opposite.

    Shapes:
        edges int64 `[2, edges]`; features `[edges, ...]` or None.
    """
    # In numpy, whose calls cost a tenth of torch's on graphs as small as molecules.
    source, target = edges.numpy()
    n = int(edges.max()) + 1 if edges.numel() else 0
    forward, backward = source * n + target, target * n + source
    ordered = np.sort(forward)
    if np.array_equal(ordered, np.sort(backward)):
        return edges, features
    # The k-th edge from a to b is the opposite of the k-th from b to a: it lacks one where there are no more than k.
    order = forward.argsort(kind="stable")
    nth = np.empty_like(order)
    nth[order] = np.arange(len(order)) - ordered.searchsorted(ordered)
    opposites = ordered.searchsorted(backward, side="right") - ordered.searchsorted(backward)
    lacking = torch.from_numpy((nth >= opposites) & (source != target))
    edges = torch.cat([edges, edges[:, lacking].flip(0)], dim=1)
    return edges, None if features is None else torch.cat([features, features[lacking]])


def read_graph(raw: Any) -> Graph:
    """Any accepted raw graph in plain tensors, its edges checked.

    Raises:
        TypeError: `raw` is none of the accepted kinds.
        ValueError: an edge points at a node that is not there.
        MediaError: a file that is missing, too large, or not a graph in JSON.
    """
    if isinstance(raw, str | Path):
        graph = _from_file(Path(raw))
    elif isinstance(raw, Mapping):
        graph = _from_mapping(raw)
    elif hasattr(raw, "edge_index") and hasattr(raw, "num_nodes"):
        graph = _from_pyg(raw)
    elif hasattr(raw, "nodes") and hasattr(raw, "edges"):
        graph = _from_networkx(raw)
    else:
        raise TypeError(
            f"received {type(raw).__name__}; expected PyG Data, a networkx graph, a dict with 'n_nodes' and 'edges', "
            "or the path of such a JSON file"
        )
    if graph.edges.numel() and not 0 <= int(graph.edges.min()) <= int(graph.edges.max()) < graph.n_nodes:
        raise ValueError(
            f"edges point at nodes {int(graph.edges.min())}..{int(graph.edges.max())}; the graph has "
            f"{graph.n_nodes} nodes, counted from 0"
        )
    return graph


def _from_pyg(data: Any) -> Graph:
    n = data.num_nodes or 0
    edges = data.edge_index if data.edge_index is not None else torch.zeros(2, 0, dtype=torch.int64)
    return Graph(n_nodes=int(n), edges=edges.long(), node_features=data.x, edge_features=data.edge_attr)


def _from_networkx(graph: Any) -> Graph:
    index = {node: i for i, node in enumerate(graph.nodes)}
    edges = [(index[a], index[b]) for a, b in graph.edges()]
    node_rows = [features.get("features") for _, features in graph.nodes(data=True)]
    edge_rows = [features.get("features") for *_, features in graph.edges(data=True)]
    return Graph(
        n_nodes=len(index),
        edges=_edge_tensor(edges),
        node_features=_rows(node_rows, "node"),
        edge_features=_rows(edge_rows, "edge"),
    )


def _from_mapping(raw: Mapping[str, Any]) -> Graph:
    if "edges" not in raw or ("n_nodes" in raw) == ("nodes" in raw):
        raise ValueError(
            f"a graph has the keys 'edges' and either 'n_nodes' or 'nodes'; received {sorted(map(str, raw))}"
        )
    if known := set(raw) - {"edges", "n_nodes", "nodes", "node_features", "edge_features"}:
        accepted = "edges, n_nodes, nodes, node_features, edge_features"
        raise ValueError(f"a graph has no key {min(map(str, known))!r}; known: {accepted}")
    edges, n = raw["edges"], raw.get("n_nodes")
    if n is None:
        index = {name: i for i, name in enumerate(raw["nodes"])}
        n = len(raw["nodes"])
        if len(index) < n:
            raise ValueError("'nodes' names a node twice")
        try:
            edges = [(index[a], index[b]) for a, b in edges]
        except KeyError as error:
            raise ValueError(f"an edge names {error.args[0]!r}, which is not among 'nodes'") from error
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise ValueError(f"n_nodes={n!r}; expected a whole number, 0 or more")
    if n > MAX_NODES:
        raise ValueError(f"n_nodes={n}; at most {MAX_NODES} are accepted")
    return Graph(
        n_nodes=n,
        edges=_edge_tensor(edges),
        node_features=_table(raw.get("node_features"), "node_features"),
        edge_features=_table(raw.get("edge_features"), "edge_features"),
    )


def _from_file(path: Path) -> Graph:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise MediaError(f"{path}: {size} bytes; at most {MAX_FILE_BYTES} are accepted")
        return _from_mapping(json.loads(read_text(path)))
    except MediaError:
        raise
    except FileNotFoundError as error:
        told = "no such file; a string is the path of a graph in JSON, for SMILES there is the MoleculeTokenizer"
        raise MediaError(f"{path}: {told}") from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MediaError(f"{path}: cannot be read as a graph: {error}") from error


def _edge_tensor(edges: Any) -> Tensor:
    try:
        if len(edges) > MAX_EDGES:
            raise ValueError(f"there are {len(edges)}; at most {MAX_EDGES} are accepted")
        tensor = torch.as_tensor(edges) if len(edges) else torch.zeros(0, 2, dtype=torch.int64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"edges are not a list of pairs of node numbers: {error}") from error
    if tensor.ndim != 2 or tensor.shape[1] != 2 or tensor.is_floating_point() or tensor.dtype == torch.bool:
        raise ValueError(f"edges have shape {list(tensor.shape)} and {tensor.dtype}; expected pairs of node numbers")
    return tensor.long().T.contiguous()


def _rows(rows: Sequence[Any], kind: str) -> Tensor | None:
    present = [row is not None for row in rows]
    if not any(present):
        return None
    if not all(present):
        raise ValueError(f"some {kind}s have the attribute 'features' and {kind} {present.index(False)} has not")
    return _table(rows, f"{kind} attribute 'features'")


def _table(rows: Any, name: str) -> Tensor | None:
    if rows is None:
        return None
    try:
        return torch.as_tensor(rows)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{name} are not rows of numbers of one length: {error}") from error
