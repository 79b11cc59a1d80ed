"""Graphs as plain matrices: features of nodes, edges, features of edges."""

from dataclasses import dataclass
from typing import Any

import torch
from omniformer_tokenizers import Tokens
from torch import Tensor
from torch.nn import functional as F

from omniformer.baselines.problem import Problem
from omniformer.data.source import Split


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matrices:
    """One graph.

    Shapes:
        x float32 `[nodes, features]`, edges int64 `[2, edges]`, of_edges float32 `[edges, features]`.
    """

    x: Tensor
    edges: Tensor
    of_edges: Tensor


def matrices(problem: Problem, split: Split) -> list[Matrices]:
    """The graphs of a split: categories one-hot, numbers as they are, the degree where nodes have nothing else."""
    tokenizer: Any = problem.tokenizers["graph"]
    return [_matrices(tokenizer(raw), tokenizer) for raw in problem.contents(split, "graph")]


def plain(problem: Problem) -> bool:
    """Whether every token is a node, so that tokens are graphs."""
    tokenizer: Any = problem.tokenizers.get("graph")
    return tokenizer is not None and not (tokenizer.virtual_node or tokenizer.edge_tokens)


def _matrices(tokens: Tokens, tokenizer: Any) -> Matrices:
    assert tokens.edges is not None
    nodes = [_one_hot(tokens.values, tokenizer.node_vocab_sizes)]
    nodes += [tokens.values.float()] if not tokenizer.node_vocab_sizes and tokenizer.node_features else []
    nodes += [tokens.features["continuous"]] if "continuous" in tokens.features else []
    if not sum(part.shape[1] for part in nodes):
        degree = torch.bincount(tokens.edges[1], minlength=len(tokens)).clamp(max=63)
        nodes = [F.one_hot(degree, 64).float()]
    edges, n = tokens.edge_features, len(tokenizer.edge_vocab_sizes)
    of_edges = torch.zeros(tokens.edges.shape[1], 0)
    if edges is not None:
        of_edges = torch.cat([_one_hot(edges[:, :n].long(), tokenizer.edge_vocab_sizes), edges[:, n:].float()], 1)
    return Matrices(x=torch.cat(nodes, 1), edges=tokens.edges, of_edges=of_edges)


def _one_hot(values: Tensor, sizes: tuple[int, ...]) -> Tensor:
    columns = [F.one_hot(values[:, i], size).float() for i, size in enumerate(sizes)]
    return torch.cat(columns, 1) if columns else torch.zeros(len(values), 0)
