"""Graphs with some of their edges taken out, which a model is to tell from pairs that were never joined."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from omniformer_tokenizers import Tokenizer, Tokens
from torch import Tensor

from omniformer.batch import Sample
from omniformer.core.ranges import SomeShare
from omniformer.data.each_raw import EachRaw
from omniformer.data.random import generator
from omniformer.data.samples import Arrangement, SampleError, Samples
from omniformer.data.source import Raw, Split

LINKS = "links"
_MANY_NODES = 1024  # up to here all pairs of nodes are listed; above, pairs are drawn until enough are free


class HeldOutEdges(Arrangement):
    """Takes a share of each graph's edges out, and asks of them and of as many pairs of nodes without an edge whether
    they are joined ([Kipf and Welling 2016](https://arxiv.org/abs/1611.07308), 3).

    The questions travel as the sample's answer, a piece `links` with values int64 `[links, 3]`: two tokens of the
    sample, and 1 where they are joined. An edge is taken out in both directions. Features that tell of edges, such as
    degrees or distances, are those of the graph without them: it goes through its tokenizer once more.

    Every epoch of training takes other edges out; evaluation always the same ones, whatever the seed of the run.

    Args:
        modality: which pieces are the graphs.
        share: how many of the edges, rounded, and at least one where there are any.
        same_graph: whether all splits hold one and the same graph, as sets for node classification do. The edges of
            evaluation are then never in any graph, neither seen nor asked for in training; validation and test each ask
            for a share of their own.

    Raises:
        ValueError: `share` is not above 0 and below 1.

    Example:
        >>> from omniformer_tokenizers import GraphTokenizer
        >>> raws = [Raw(id="path", contents={"graph": {"n_nodes": 4, "edges": [[0, 1], [1, 2], [2, 3]]}})]
        >>> tokenizers = {"graph": GraphTokenizer()}
        >>> sample = HeldOutEdges(share=0.3)(raws, tokenizers, name="x", seed=0, split="train")(0, 0)
        >>> sample.pieces[0].edges.shape, sample.answer[0].values[:, 2].tolist()
        (torch.Size([2, 4]), [1, 0])
    """

    def __init__(self, *, modality: str = "graph", share: SomeShare = 0.1, same_graph: bool = False) -> None:
        if not 0 < share < 1:
            raise ValueError(f"share={share} must be above 0 and below 1: the part of the edges that is taken out")
        self.modality = modality
        self.share = share
        self.same_graph = same_graph

    def __call__(
        self, raws: Sequence[Raw], tokenizers: Mapping[str, Tokenizer], *, name: str, seed: int, split: Split
    ) -> Samples:
        """The samples of one split, with questions.

        Raises:
            ValueError: there is no tokenizer for the modality.
        """
        if self.modality not in tokenizers:
            raise ValueError(f"modality={self.modality!r} has no tokenizer; {name} has those for {sorted(tokenizers)}")
        whole = EachRaw(raws, tokenizers, name=name, seed=seed)
        return LinkSamples(whole, self, tokenizers[self.modality], name=name, seed=seed, split=split)


class LinkSamples(Samples):
    """Samples whose graphs lack some edges; made by `HeldOutEdges`."""

    def __init__(
        self, whole: EachRaw, how: HeldOutEdges, tokenizer: Tokenizer, *, name: str, seed: int, split: Split
    ) -> None:
        self.whole = whole
        self.how = how
        self.tokenizer = tokenizer
        self.name = name
        self.seed = seed
        self.split = split

    def __len__(self) -> int:
        return len(self.whole)

    def id(self, index: int) -> str:
        """The id of an example, without making it."""
        return self.whole.id(index)

    def __call__(self, epoch: int, index: int) -> Sample:
        """One example as epoch `epoch` sees it."""
        sample = self.whole(epoch, index)
        pieces, questions, start = [], [torch.zeros(0, 3, dtype=torch.long)], 0
        for piece in sample.pieces:
            if piece.modality == self.how.modality:
                piece, asked = self._divided(piece, sample.id, epoch)
                questions.append(asked + torch.tensor([start, start, 0]))
            pieces.append(piece)
            start += len(piece)
        values = torch.cat(questions)
        links = Tokens(values=values, positions=torch.zeros(len(values), 0), modality=LINKS)
        return replace(sample, pieces=tuple(pieces), answer=(links,))

    def _divided(self, piece: Tokens, sample_id: str, epoch: int) -> tuple[Tokens, Tensor]:
        """The graph without some of its edges, and what is asked of it."""
        n = len(piece)
        given = piece.edges if piece.edges is not None else torch.zeros(2, 0, dtype=torch.long)
        kind = piece.features.get("kind", torch.zeros(n, dtype=torch.long))
        between_nodes = (kind[given] == 0).all(0) & (given[0] != given[1])
        # An edge in either direction is one number: what is taken out is taken out in both.
        codes = given.amin(0) * n + given.amax(0)
        edges = codes[between_nodes].unique()
        chance = generator(*((self.seed, epoch) if self.split == "train" else (0, 0)), sample_id, "held-out edges")
        reserved, free = edges[:0], edges
        if self.how.same_graph:
            order = torch.randperm(len(edges), generator=generator(0, 0, self.name, "edges of evaluation"))
            n_each = _some(len(edges), self.how.share)
            reserved, free = edges[order[: 2 * n_each]], edges[order[2 * n_each :]]
        if self.how.same_graph and self.split != "train":
            asked = reserved[:n_each] if self.split == "val" else reserved[n_each:]
        else:
            chosen = torch.randperm(len(free), generator=chance)[: _some(len(free), self.how.share)]
            asked = free[chosen]
        others = _unjoined(edges, (kind == 0).nonzero().flatten(), n, len(asked), chance)
        pairs = torch.cat([asked, others])
        joined = torch.arange(len(pairs)) < len(asked)
        kept = ~torch.isin(codes, torch.cat([reserved, asked]))
        side = max(n, 1)
        return self._without(piece, kept, sample_id), torch.stack([pairs // side, pairs % side, joined.long()], dim=1)

    def _without(self, piece: Tokens, kept: Tensor, sample_id: str) -> Tokens:
        """The graph with some edges only, and with features that know of no others."""
        if piece.edges is None or bool(kept.all()):
            return piece
        if not piece.pairs and piece.features.keys() <= {"continuous"}:
            features = None if piece.edge_features is None else piece.edge_features[kept]
            return replace(piece, edges=piece.edges[:, kept], edge_features=features)
        try:
            graph = self.tokenizer.decode(piece)
        except TypeError as error:
            raise SampleError(
                f"sample {sample_id!r} of {self.name}: {error}; "
                "its features would give away the edges that are taken out"
            ) from error
        for name in ("edges", "edge_features"):
            if name in graph:
                graph[name] = [row for row, stays in zip(graph[name], kept.tolist(), strict=True) if stays]
        return replace(self.tokenizer(graph), modality=piece.modality)


def _some(n: int, share: float) -> int:
    return max(1, round(share * n)) if n else 0


def _unjoined(edges: Tensor, nodes: Tensor, n_tokens: int, wanted: int, chance: torch.Generator) -> Tensor:
    """At most `wanted` different pairs of nodes that no edge joins, every set of them equally likely.

    Shapes:
        edges and result int64 `[pairs]`, as `smaller * n_tokens + larger`; nodes int64 `[nodes]`.
    """
    n_pairs = len(nodes) * (len(nodes) - 1) // 2
    wanted = min(wanted, n_pairs - len(edges))
    if len(nodes) <= _MANY_NODES:
        first, second = torch.triu_indices(len(nodes), len(nodes), offset=1)
        free = nodes[first] * n_tokens + nodes[second]
        free = free[~torch.isin(free, edges)]
        return free[torch.randperm(len(free), generator=chance)[:wanted]]
    found = edges[:0]
    while len(found) < wanted:
        ends = nodes[torch.randint(len(nodes), (2, 2 * wanted + 16), generator=chance)]
        drawn = (ends.amin(0) * n_tokens + ends.amax(0))[ends[0] != ends[1]]
        found = torch.cat([found, drawn[~torch.isin(drawn, edges)]]).unique()
    return found[torch.randperm(len(found), generator=chance)[:wanted]]
