"""Whole graphs: a bag of what nodes and edges are, and a network that adds up messages."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omniformer.baselines.baseline import Baseline
from omniformer.baselines.dense import DenseLinear
from omniformer.baselines.graph_input import matrices, plain
from omniformer.baselines.problem import Answers, Problem
from omniformer.baselines.training import steps_for, trained
from omniformer.data.pyg_dataset import pyg
from omniformer.data.source import Split

_KINDS = ("label", "labels", "value")


class BagOfNodes(DenseLinear):
    """Logistic or ridge regression on sums over nodes and edges, and on how many nodes have which degree."""

    name = "linear on a bag of nodes and edges"

    def fits(self, problem: Problem) -> bool:
        return problem.kind in _KINDS and plain(problem)

    def features(self, problem: Problem, split: Split) -> Tensor:
        rows = []
        for graph in matrices(problem, split):
            degrees = torch.bincount(graph.edges[1], minlength=len(graph.x)).clamp(max=15)
            counts = torch.bincount(degrees, minlength=16).float()
            sizes = torch.tensor([len(graph.x), graph.edges.shape[1]]).float()
            rows.append(torch.cat([graph.x.sum(0), graph.of_edges.sum(0), counts, sizes]))
        return torch.stack(rows)


class GIN(Baseline):
    """PyG's graph isomorphism network ([Xu et al. 2019](https://arxiv.org/abs/1810.00826)): four layers of 64, sum
    pooling, 100 passes and at most 3,000 steps of 32 graphs.
    """

    name = "GIN"

    def fits(self, problem: Problem) -> bool:
        return problem.kind in _KINDS and plain(problem)

    def answers(self, problem: Problem) -> Mapping[Split, Answers]:
        graphs = {split: matrices(problem, split) for split in problem.raws}
        width = graphs["train"][0].x.shape[1]
        model = SumNetwork(width, problem.n_outputs)

        def forward(split: Split, places: Tensor) -> Tensor:
            chosen = [graphs[split][i] for i in places.tolist()]
            starts = torch.tensor([0, *(len(each.x) for each in chosen)]).cumsum(0)
            edges = torch.cat([each.edges + start for each, start in zip(chosen, starts, strict=False)], 1)
            sample = torch.repeat_interleave(torch.arange(len(chosen)), starts.diff())
            return model(torch.cat([each.x for each in chosen]), edges, sample, len(chosen))

        steps = steps_for(len(graphs["train"]), passes=100, most=3_000)
        return trained(problem, model, forward, lr=5e-3, steps=steps)


class SumNetwork(nn.Module):
    """The network of `GIN`."""

    def __init__(self, features: int, outputs: int, width: int = 64) -> None:
        super().__init__()
        self.into = nn.Linear(features, width)
        self.convolutions = pyg("nn").GIN(width, width, 4, norm="batch_norm", dropout=0.2)
        self.out = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, x: Tensor, edges: Tensor, sample: Tensor, n: int) -> Tensor:
        """Raw outputs of each graph."""
        hidden = self.convolutions(self.into(x), edges)
        return self.out(hidden.new_zeros(n, hidden.shape[1]).index_add(0, sample, hidden))
