"""Graphs to tokens: nodes as tokens, edges as who may attend to whom, structure as extra features."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from omniformer_tokenizers._checks import at_least
from omniformer_tokenizers.graph import encodings, structure
from omniformer_tokenizers.graph.encoding_cache import cached
from omniformer_tokenizers.graph.input import Graph, both_directions, read_graph
from omniformer_tokenizers.graph.smiles import ATOM_VOCAB_SIZES, BOND_VOCAB_SIZES, read_smiles
from omniformer_tokenizers.media import naming
from omniformer_tokenizers.ranges import Count, Natural
from omniformer_tokenizers.tokenizer import Tokenizer
from omniformer_tokenizers.tokens import Tokens


class GraphTokenizer(Tokenizer):
    """One token for each node, in the order given: permuting the nodes permutes the tokens.

    Attention masked by `edges` then makes a graph transformer. What a node is may be categorical, continuous, both
    (categories first), or nothing: then all nodes have category 0 and the structure must tell. Where the categories of
    nodes and edges are just those of atoms and bonds in `smiles`, as sets of molecules tell them, a string is SMILES,
    and a file a `Path`.

    Args:
        node_vocab_sizes: for each categorical node field, how many categories it has.
        node_features: how many continuous numbers each node has.
        edge_vocab_sizes: for each categorical edge field, how many categories it has.
        edge_features: how many continuous numbers each edge has.
        directed: keep edges one-way. Otherwise the opposite of every edge that lacks one is added, with its features.
        max_degree: gives the feature `degree`, edges ending at a node, counted up to this number; 0 leaves it out.
        laplacian: number of Laplacian eigenvectors, the feature `laplacian`; see `encodings`.
        random_walk: number of random-walk return probabilities, the feature `random_walk`.
        shortest_path: gives the pairs `shortest_path`, edges on the shortest path from the column's node to the row's,
            counted up to this number, -1 where there is none; 0 leaves it out
            ([Ying et al. 2021](https://arxiv.org/abs/2106.05234), Graphormer). Tokens that are no nodes have no path.
        virtual_node: add a last token that is joined to every node in both directions.
        edge_tokens: make every edge a token too, joined to its two ends (TokenGT, Kim et al. 2022); an undirected edge
            is one token. See `structure` for how features are laid out then.
        cache_folder: where the encodings of graphs with more than 128 nodes are kept, as safetensors; None computes
            them each time. Not saved with the tokenizer.

    Raises:
        ValueError: a number is negative, or a vocabulary is empty.

    Example:
        >>> tokens = GraphTokenizer(random_walk=2)({"n_nodes": 3, "edges": [[0, 1], [1, 2]]})
        >>> tokens.edges.tolist(), tokens.features["degree"].tolist()
        ([[0, 1, 1, 2], [1, 2, 0, 1]], [1, 2, 1])
    """

    modality = "graph"

    def __init__(
        self,
        *,
        node_vocab_sizes: tuple[Count, ...] = (),
        node_features: Natural = 0,
        edge_vocab_sizes: tuple[Count, ...] = (),
        edge_features: Natural = 0,
        directed: bool = False,
        max_degree: Natural = 63,
        laplacian: Natural = 0,
        random_walk: Natural = 0,
        shortest_path: Natural = 0,
        virtual_node: bool = False,
        edge_tokens: bool = False,
        cache_folder: str | None = None,
    ) -> None:
        at_least(0, node_features=node_features, edge_features=edge_features, max_degree=max_degree)
        at_least(0, laplacian=laplacian, random_walk=random_walk, shortest_path=shortest_path)
        for name, sizes in {"node_vocab_sizes": node_vocab_sizes, "edge_vocab_sizes": edge_vocab_sizes}.items():
            if any(size < 1 for size in sizes):
                raise ValueError(f"{name}={tuple(sizes)}: each field needs at least one category")
        self.node_vocab_sizes = tuple(node_vocab_sizes)
        self.node_features = node_features
        self.edge_vocab_sizes = tuple(edge_vocab_sizes)
        self.edge_features = edge_features
        self.directed = directed
        self.max_degree = max_degree
        self.laplacian = laplacian
        self.random_walk = random_walk
        self.shortest_path = shortest_path
        self.virtual_node = virtual_node
        self.edge_tokens = edge_tokens
        self.cache_folder = cache_folder
        of_molecules = (self.node_vocab_sizes, self.edge_vocab_sizes) == (ATOM_VOCAB_SIZES, BOND_VOCAB_SIZES)
        self.reads_strings = of_molecules and not node_features and not edge_features

    @property
    def facts(self) -> Mapping[str, Any]:
        """What an embedder of graphs must know.

        `vocab_sizes` of the categorical fields (`[1]` for nodes without features, `[]` where values are continuous),
        `features` continuous numbers, the same of edges, the widths of the structural features (0: absent), and the
        `kinds` of tokens: 1, or 3 where there may be nodes, a virtual node and edges.
        """
        featureless = not self.node_vocab_sizes and not self.node_features
        return {
            "vocab_sizes": [1] if featureless else list(self.node_vocab_sizes),
            "features": self.node_features,
            "edge_vocab_sizes": list(self.edge_vocab_sizes),
            "edge_features": self.edge_features,
            "max_degree": self.max_degree,
            "laplacian": self.laplacian * (2 if self.edge_tokens else 1),
            "random_walk": self.random_walk,
            "kinds": 3 if self.virtual_node or self.edge_tokens else 1,
            "axes": 0,
        }

    def __call__(self, raw: Any) -> Tokens:
        """The tokens of a graph.

        Accepted are PyG `Data`, a networkx graph, a dict or a JSON file: `{"n_nodes": 3, "edges": [[0, 1], [1, 2]]}`,
        with optional `node_features` and `edge_features`, or `"nodes"`, a list of names that the edges then use.

        Raises:
            TypeError: not one of these.
            ValueError: an edge points nowhere, or features were not announced, or have another width, dtype or range.
            MediaError: a file that cannot be read.

        Shapes:
            values int64 `[nodes, fields]` or, all continuous, float32 `[nodes, features]`; positions `[nodes, 0]`;
            edges int64 `[2, edges]`; edge_features int64 `[edges, fields]` or float32 `[edges, fields + features]`,
            the categories first; features: `continuous` float32 where nodes have both kinds, `degree` int64 `[nodes]`,
            `laplacian` and `random_walk` float32 `[nodes, k]`; pairs: `shortest_path` int16 `[nodes, nodes]`.
        """
        return self.encode_batch([raw])[0]

    def encode_batch(self, raws: Iterable[Any]) -> list[Tokens]:
        """The tokens of many graphs, the encodings of those of equal size computed together."""
        graphs = [self._read(raw) for raw in raws]
        encoded, distances = self._encodings(graphs), self._distances(graphs)
        return [self._tokens(*parts) for parts in zip(graphs, encoded, distances, strict=True)]

    def decode(self, tokens: Tokens) -> dict[str, Any]:
        """The graph as a dict that tokenizes to the same tokens; undirected edges appear in both directions.

        The node features are exact; structure features are left to be computed again.

        Raises:
            TypeError: there are tokens that are not nodes (`virtual_node`, `edge_tokens`).
        """
        if self.virtual_node or self.edge_tokens:
            raise TypeError("GraphTokenizer has no inverse with virtual_node or edge_tokens: not all tokens are nodes")
        graph: dict[str, Any] = {
            "n_nodes": len(tokens),
            "edges": (tokens.edges.T.tolist() if tokens.edges is not None else []),
        }
        parts = [tokens.values] if self.node_vocab_sizes or self.node_features else []
        if "continuous" in tokens.features:
            parts.append(tokens.features["continuous"])
        if parts:
            graph["node_features"] = torch.cat([part.double() for part in parts], dim=1).tolist()
        if tokens.edge_features is not None:
            graph["edge_features"] = tokens.edge_features.tolist()
        return graph

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = (
            "node_features",
            "edge_features",
            "directed",
            "max_degree",
            "laplacian",
            "random_walk",
            "shortest_path",
        )
        names += ("virtual_node", "edge_tokens")
        sizes = {name: list(getattr(self, name)) for name in ("node_vocab_sizes", "edge_vocab_sizes")}
        return {name: getattr(self, name) for name in names} | sizes

    def _read(self, raw: Any) -> Graph:
        """A raw graph with the edges and the edge features as the tokens will have them."""
        molecule = self.reads_strings and isinstance(raw, str)
        with naming(raw):
            graph = read_graph(read_smiles(raw) if molecule else raw)
            edges, edge_features = graph.edges, self._edge_features(graph)
            categories, numbers = self._node_features(graph)
        if not self.directed:
            edges, edge_features = both_directions(edges, edge_features)
        return replace(graph, edges=edges, edge_features=edge_features, node_features=categories, continuous=numbers)

    def _encodings(self, graphs: Sequence[Graph]) -> list[dict[str, Tensor]]:
        """The structural features of each graph's nodes."""
        columns: list[dict[str, Tensor]] = [{} for _ in graphs]
        for name, compute in (
            ("laplacian", encodings.laplacian_eigenvectors),
            ("random_walk", encodings.random_walks),
        ):
            if k := getattr(self, name):
                pairs = [(graph.edges, graph.n_nodes) for graph in graphs]
                found = cached(pairs, compute, k, name=name, folder=self.cache_folder)
                for column, rows in zip(columns, found, strict=True):
                    column[name] = rows
        if self.max_degree:
            for graph, column in zip(graphs, columns, strict=True):
                column["degree"] = encodings.degrees(graph.edges, graph.n_nodes).clamp(max=self.max_degree)
        return columns

    def _distances(self, graphs: Sequence[Graph]) -> list[Tensor | None]:
        """The distances between the nodes of each graph, where they are asked for."""
        if not self.shortest_path:
            return [None] * len(graphs)
        edges = [(graph.edges, graph.n_nodes) for graph in graphs]
        compute, longest = encodings.pair_distances, self.shortest_path
        return [*cached(edges, compute, longest, name="shortest_path", folder=self.cache_folder, square=True)]

    def _tokens(self, graph: Graph, columns: dict[str, Tensor], distances: Tensor | None) -> Tokens:
        assert graph.node_features is not None
        values, features = graph.node_features, dict(columns)
        if graph.continuous is not None:
            features["continuous"] = graph.continuous
        edges, edge_features = graph.edges, graph.edge_features
        if self.edge_tokens:
            values, features, edges, edge_features = structure.with_edge_tokens(
                values, features, edges, edge_features, directed=self.directed
            )
        if self.virtual_node:
            values, features, edges, edge_features = structure.with_virtual_node(values, features, edges, edge_features)
        if self.virtual_node or self.edge_tokens:
            features = structure.with_kinds(features, graph.n_nodes, len(values), virtual_node=self.virtual_node)
        return Tokens(
            values=values,
            positions=torch.zeros(len(values), 0),
            edges=edges,
            edge_features=edge_features,
            features=features,
            pairs={} if distances is None else {"shortest_path": structure.with_others(distances, len(values))},
            modality=self.modality,
        )

    def _node_features(self, graph: Graph) -> tuple[Tensor, Tensor | None]:
        """The values of the nodes, and their continuous features where the values are categories."""
        fields, width = self.node_vocab_sizes, self.node_features
        if not fields and not width:
            _no_features(graph.node_features, "node")
            return torch.zeros(graph.n_nodes, 1, dtype=torch.int64), None
        categories, numbers = _split(graph.node_features, graph.n_nodes, fields, width, "node")
        if not fields:
            return numbers, None
        return categories, numbers if width else None

    def _edge_features(self, graph: Graph) -> Tensor | None:
        fields, width = self.edge_vocab_sizes, self.edge_features
        if not fields and not width:
            _no_features(graph.edge_features, "edge")
            return None
        categories, numbers = _split(graph.edge_features, graph.edges.shape[1], fields, width, "edge")
        if not width:
            return categories
        return torch.cat([categories.float(), numbers], dim=1)


def _no_features(rows: Tensor | None, kind: str) -> None:
    """Refuses features that no argument of the tokenizer takes."""
    if rows is None or not rows.numel():
        return
    width = 1 if rows.ndim == 1 else rows.shape[-1]
    as_numbers, as_categories = f"{kind}_features={width}", f"{kind}_vocab_sizes, {width} number(s) of categories"
    likely = as_numbers if rows.is_floating_point() else as_categories
    other = as_categories if rows.is_floating_point() else as_numbers
    raise ValueError(
        f"the graph has {kind}_features of shape {list(rows.shape)} and the tokenizer was told of none; give it "
        f"{likely} (or {other}), or leave them out of the graph"
    )


def _split(rows: Tensor | None, n: int, fields: Sequence[int], width: int, kind: str) -> tuple[Tensor, Tensor]:
    """The categorical and the continuous columns of node or edge features, checked against what was announced."""
    columns = len(fields) + width
    if rows is None and n:
        raise ValueError(f"the graph has no {kind} features; {len(fields)} categorical and {width} continuous expected")
    if rows is None or not n:
        return torch.zeros(0, len(fields), dtype=torch.int64), torch.zeros(0, width)
    if rows.ndim == 1 and columns == 1:
        rows = rows[:, None]
    if rows.shape != (n, columns):
        raise ValueError(
            f"{kind} features have shape {list(rows.shape)}; expected [{n}, {columns}]: {len(fields)} categorical and "
            f"{width} continuous"
        )
    if rows.is_floating_point() and not torch.isfinite(rows).all():
        raise ValueError(f"{kind} features hold numbers that are not finite")
    categories, numbers = rows[:, : len(fields)], rows[:, len(fields) :]
    if fields:
        whole = categories.long()
        if categories.is_floating_point() and not torch.equal(whole.to(categories.dtype), categories):
            raise ValueError(f"categorical {kind} features hold numbers that are not whole")
        outside = ((whole < 0) | (whole >= torch.tensor(fields))).any(0)
        if outside.any():
            i = int(outside.nonzero()[0])
            raise ValueError(
                f"{kind} field {i} holds {int(whole[:, i].min())}..{int(whole[:, i].max())}; "
                f"expected 0..{fields[i] - 1}"
            )
    return categories.long(), numbers.float()
