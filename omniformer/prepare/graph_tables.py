"""A folder with a table of nodes and one of edges: what the graph is, and an experiment that learns from it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from omniformer.data.graph_tables import Columns, GraphTables, columns_of
from omniformer.data.source import SPLITS
from omniformer.data.table.opening import SUFFIXES
from omniformer.data.table.targets import number
from omniformer.prepare.guesses import is_target_name

_ENDS = (("source", "target"), ("src", "dst"), ("from", "to"), ("u", "v"))


def graph_files(path: Path) -> tuple[Path, Path] | None:
    """The tables `nodes` and `edges` of a folder; None where it holds none."""
    found = [
        [each for each in sorted(path.glob(f"{name}.*")) if each.name.lower().endswith((*SUFFIXES, ".npz"))]
        for name in ("nodes", "edges")
    ]
    nodes, edges = found
    return (nodes[0], edges[0]) if len(nodes) == len(edges) == 1 else None


def looked(files: tuple[Path, Path], targets: Sequence[str]) -> dict[str, Any]:
    """What the tables hold, as plain values; `proposal` among them.

    Args:
        files: of nodes and of edges.
        targets: the column of classes; empty takes one that is called so, and where there is none, edges are to be
            found.

    Raises:
        ValueError: it is not clear which columns are what, or cells are wrong; says what to type.
    """
    nodes, edges = (columns_of(file) for file in files)
    ends = _ends(edges, files[1])
    node_id = _node_id(nodes, edges, ends)
    label = _label(nodes, targets, files[0])
    beside = {node_id, label, "split"}
    features = [name for name in nodes if name not in beside and _is_number(nodes[name])]
    arguments = {"nodes": str(files[0]), "edges": str(files[1]), "features": features}
    arguments |= {"ends": list(ends)} if "edge_index" not in edges else {}
    arguments |= {"node_id": node_id} if node_id else {}
    source = GraphTables(**arguments, label=label)
    graph = source.split("train")[0].contents["graph"]
    return {
        "n_nodes": graph["n_nodes"],
        "n_edges": len(graph["edges"]),
        "left_out": [name for name in nodes if name not in (*beside, *features)],
        **_odd(graph["edges"], graph["n_nodes"]),
        **({"classes": _classes(source), "trivial": source.baselines()} if label else {}),
        "proposal": _proposal(arguments, label, graph),
    }


def report(found: Mapping[str, Any]) -> str:
    """The findings as people read them."""
    return "\n".join(_lines(found))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    keys = found["proposal"]["keys"]
    source = keys["data"]["source"]
    yield f"{found['data']}: one graph of {found['n_nodes']:,} nodes and {found['n_edges']:,} edges"
    yield f"numbers of a node: {', '.join(source['features'][:8]) or 'none'}" + ", ..." * (len(source["features"]) > 8)
    if found["left_out"]:
        told = "" if "classes" in found else "; --target NAME learns to tell the classes of one of them"
        yield f"left out, since they hold no numbers: {', '.join(found['left_out'])}{told}"
    yield f"nodes without an edge: {found['alone']}; loops: {found['loops']}; edges there again: {found['again']}"
    for split, counts in found.get("classes", {}).items():
        yield f"{split}: {sum(counts.values())} nodes, {', '.join(f'{name} {n}' for name, n in counts.items())}"
    for name, score in found.get("trivial", {}).items():
        yield f"a trivial answer scores {name} {score:.3f} on test"
    yield f"\nproposed: task {found['proposal']['task']}"


def _ends(edges: Columns, file: Path) -> tuple[str, str]:
    if "edge_index" in edges:
        return "source", "target"
    for pair in _ENDS:
        if {*pair} <= edges.keys():
            return pair
    if len(edges) == 2:
        first, second = edges
        return first, second
    raise ValueError(
        f"{file} has the columns {', '.join(edges)}; which are the ends of an edge is not clear, call them source and "
        "target"
    )


def _node_id(nodes: Columns, edges: Columns, ends: tuple[str, str]) -> str | None:
    """The first column that holds all ends of edges, each name once."""
    both = edges["edge_index"].reshape(-1) if "edge_index" in edges else [*edges[ends[0]], *edges[ends[1]]]
    wanted = {str(each) for each in both}
    for name, cells in nodes.items():
        if (
            getattr(cells, "ndim", 1) == 1
            and wanted <= (held := {str(each) for each in cells})
            and len(held) == len(cells)
        ):
            return name
    return None


def _label(nodes: Columns, targets: Sequence[str], file: Path) -> str | None:
    """The column of classes.

    Raises:
        ValueError: several are named, or one that is not there.
    """
    named = list(targets) or [name for name in nodes if is_target_name(name)]
    if len(named) > 1 or any(name not in nodes for name in named):
        raise ValueError(
            f"{file} has the columns {', '.join(nodes)}, of which one can be the class of a node, received "
            f"{', '.join(named)}; name one with --target"
        )
    return named[0] if named else None


def _is_number(cells: Any) -> bool:
    if hasattr(cells, "dtype"):
        return cells.dtype.kind in "biuf"
    try:
        return all(number(cell) == number(cell) for cell in cells)
    except ValueError:
        return False


def _odd(edges: torch.Tensor, n_nodes: int) -> dict[str, int]:
    """What is seldom meant."""
    again = len(edges) - len(edges.sort(dim=1).values.unique(dim=0))
    loops = int((edges[:, 0] == edges[:, 1]).sum())
    return {"alone": n_nodes - len(edges.unique()), "loops": loops, "again": again}


def _classes(source: GraphTables) -> dict[str, dict[str, int]]:
    found = {}
    for split in SPLITS:
        for raw in source.split(split):
            counts = Counter(raw.token_targets["label"][raw.token_targets["mask"]].tolist())
            found[split] = {source.labels[i]: n for i, n in sorted(counts.items())}
    return found


def _proposal(arguments: Mapping[str, Any], label: str | None, graph: Mapping[str, Any]) -> dict[str, Any]:
    """A small core in which nodes attend to their neighbours; the sizes are those of the experiment cora."""
    groups = {
        "modality": "graph",
        "data": "graph_tables" if label else "graph_links",
        "task": "node_classification" if label else "link_prediction",
    }
    told = "node_features" in graph  # else a node is known by its place alone
    keys = {
        "tokenizer": {"max_degree": 0 if told else 63, "random_walk": 0 if told else 8},
        "embedder": {"dropout": 0.3},
        "core": {"d_model": 64, "n_layers": 2, "dropout": 0.3},
        "data": {"source": {**arguments, **({"label": label} if label else {})}},
        "optim": {"lr": 0.005, "weight_decay": 0.1},
        "trainer": {"max_epochs": 100},
    }
    return {"task": groups["task"], "groups": groups, "keys": keys}
