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

Node = dict[str, Any]
_FEW_LABELS = 50  # of a class, on average: of 20 and of one it was measured what they need
_ALIKE = 0.3  # adjusted for chance, from which on neighbours are taken to be of one class: citations have 0.8, others 0
_FEWEST_EDGES = 10  # from which on it is told at all
_MOST_VECTORS = 100_000  # nodes of which a vector each may be learned, where they have no numbers
_WORDS = 100  # numbers of a node from which on they are taken for words, of which some may be left out at a time
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
    told: Node = {}
    if label:
        told = {"classes": _classes(source), "trivial": source.baselines(), "homophily": _homophily(source)}
    return {
        "n_nodes": graph["n_nodes"],
        "n_edges": len(graph["edges"]),
        "left_out": [name for name in nodes if name not in (*beside, *features)],
        **_odd(graph["edges"], graph["n_nodes"]),
        **told,
        "proposal": _proposal(arguments, source, told),
    }


def report(found: Mapping[str, Any]) -> str:
    """The findings as people read them."""
    return "\n".join(_lines(found))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    keys = found["proposal"]["keys"]
    source = keys["data"]["source"]
    yield f"{found['data']}: one graph of {found['n_nodes']:,} nodes and {found['n_edges']:,} edges"
    yield f"numbers of a node: {', '.join(source['features'][:8]) or 'none'}" + ", ..." * (len(source["features"]) > 8)
    if source.get("identity"):
        yield "each node is told by the number of its row, of which a vector is learned: no node can be added later"
    if found["left_out"]:
        told = "" if "classes" in found else "; --target NAME learns to tell the classes of one of them"
        yield f"left out, since they hold no numbers: {', '.join(found['left_out'])}{told}"
    yield f"nodes without an edge: {found['alone']}; loops: {found['loops']}; edges there again: {found['again']}"
    for split, counts in found.get("classes", {}).items():
        yield f"{split}: {sum(counts.values())} nodes, {', '.join(f'{name} {n}' for name, n in counts.items())}"
    if "homophily" in found:
        yield _of_homophily(found["homophily"])
    for name, score in found.get("trivial", {}).items():
        yield f"a trivial answer scores {name} {score:.3f} on test"
    yield f"\nproposed: task {found['proposal']['task']}"


def _of_homophily(found: Mapping[str, Any]) -> str:
    edges = f"{found['edges']:,} edges between nodes of known class"
    if found["adjusted"] is None:
        return f"homophily: {edges} are too few to tell; neighbours are taken to be of one class"
    alike = "are" if _propagates(found) else "are not taken to be"
    return (
        f"homophily: {found['share']:.2f} of {edges} join equals, {found['adjusted']:.2f} adjusted for chance: "
        f"neighbours {alike} of one class"
    )


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


def _homophily(source: GraphTables) -> dict[str, Any]:
    """Whether neighbours are of the same class, by the edges between nodes whose class is known before the test: their
    number, the share of equals, and the same adjusted for what chance gives, from -1 to 1
    ([Platonov et al. 2023](https://arxiv.org/abs/2209.06177), 2.2); None where too few tell.
    """
    (raw,) = source.split("train")
    ends, known = raw.contents["graph"]["edges"].T, raw.token_targets
    counts = known["mask"].clone()
    for validation in source.split("val"):
        counts |= validation.token_targets["mask"]
    ends = ends[:, counts[ends].all(0) & (ends[0] != ends[1])]
    of_ends = known["label"][ends]
    n = of_ends.shape[1]
    if n < _FEWEST_EDGES:
        return {"edges": n, "share": None, "adjusted": None}
    share = float((of_ends[0] == of_ends[1]).double().mean())
    chance = float((of_ends.flatten().bincount() / (2 * n)).square().sum())
    return {"edges": n, "share": share, "adjusted": (share - chance) / (1 - chance) if chance < 1 else None}


def _propagates(homophily: Mapping[str, Any]) -> bool:
    """Whether scores of classes should travel along edges; where nothing tells, neighbours are taken to be alike."""
    return homophily["adjusted"] is None or homophily["adjusted"] >= _ALIKE


def _proposal(arguments: Mapping[str, Any], source: GraphTables, told: Mapping[str, Any]) -> Node:
    """A small core in which nodes attend to their neighbours."""
    label = source.label
    groups = {
        "modality": "graph",
        "data": "graph_tables" if label else "graph_links",
        "task": "node_classification" if label else "link_prediction",
    }
    graph = source.split("train")[0].contents["graph"]
    numbers = graph["node_features"].shape[1] if "node_features" in graph else 0
    by_row = bool(label) and not numbers and graph["n_nodes"] <= _MOST_VECTORS
    of_place = not (numbers or by_row)
    keys: Node = {
        "tokenizer": {"max_degree": 63 if of_place else 0, "random_walk": 8 if of_place else 0},
        "embedder": {"dropout": 0.3},
        "core": {"d_model": 64, "n_layers": 2, "dropout": 0.3},
        "data": {"source": {**arguments, **({"label": label} if label else {})}},
        "optim": {"lr": 0.005, "weight_decay": 0.1},
        "trainer": {"max_epochs": 100},
    }
    if by_row:
        keys["data"]["source"]["identity"] = True  # the place of a node alone tells few apart
    few = bool(label) and sum(told["classes"]["train"].values()) < _FEW_LABELS * len(source.labels)
    if few and _propagates(told["homophily"]):
        groups["task"] = "node_consistency"
        _few_labels(keys, numbers)
    return {"task": groups["task"], "groups": groups, "keys": keys}


def _few_labels(keys: Node, numbers: int) -> None:
    """What 20 labels a class of citations and one a class of the karate club were learned with (docs/results.md): a
    hidden layer that learns fast, a core that learns slowly, as it would know the few labels by heart, much that is
    left out, and scores that travel along edges.
    """
    keys["embedder"] = {"dropout": 0.5, "activation": "relu"}
    if numbers >= _WORDS:
        keys["embedder"]["input_dropout"] = 0.8
    keys["core"] |= {"n_layers": 1, "dropout": 0.5, "final_norm": False}
    keys["optim"] = {"lr": 0.01, "lr_of": {"core.*": 1e-4}, "weight_decay": 0.5}
    carries = {"_target_": "omniformer.core.propagation.GeneralizedPageRank", "_partial_": True}
    keys["task"] = {"head": {"propagation": carries}}
