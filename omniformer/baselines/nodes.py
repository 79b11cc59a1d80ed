"""Nodes of graphs: linear on their features, and a graph convolutional network."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from omniformer.baselines.baseline import Baseline, evaluated
from omniformer.baselines.dense import DenseLinear
from omniformer.baselines.graph_input import matrices, plain
from omniformer.baselines.problem import Answers, Problem
from omniformer.data.pyg_dataset import pyg
from omniformer.data.source import Split

_STEPS = 200


def masked(problem: Problem, split: Split) -> Tensor:
    """Which nodes of a split count, its graphs end to end."""
    masks = []
    for raw in problem.raws[split]:
        label = raw.token_targets["label"]
        masks.append(raw.token_targets.get("mask", torch.ones(len(label), dtype=torch.bool)))
    return torch.cat(masks)


class NodeFeatures(DenseLinear):
    """Logistic regression on what a node is, without its neighbours."""

    name = "linear on node features"

    def fits(self, problem: Problem) -> bool:
        return problem.kind == "node" and plain(problem)

    def features(self, problem: Problem, split: Split) -> Tensor:
        return torch.cat([graph.x for graph in matrices(problem, split)])[masked(problem, split)]


class GCN(Baseline):
    """PyG's graph convolutional network with the settings of
    [Kipf and Welling (2017)](https://arxiv.org/abs/1609.02907): 16 hidden, dropout 0.5, weight decay 5e-4, 200 steps.
    """

    name = "GCN"

    def fits(self, problem: Problem) -> bool:
        return problem.kind == "node" and plain(problem)

    def answers(self, problem: Problem) -> Mapping[Split, Answers]:
        graphs = {split: _joined(problem, split) for split in problem.raws}
        label = problem.targets("train")
        layer = pyg("nn").GCNConv
        first, second = layer(graphs["train"][0].shape[1], 16), layer(16, problem.n_outputs)

        def forward(split: Split, learns: bool) -> Tensor:
            x, edges, mask = graphs[split]
            hidden = F.dropout(first(F.dropout(x, 0.5, learns), edges).relu(), 0.5, learns)
            return second(hidden, edges)[mask]

        groups = [{"params": first.parameters(), "weight_decay": 5e-4}, {"params": second.parameters()}]
        return best_step(problem, torch.optim.Adam(groups, lr=0.01), forward, label)


def best_step(
    problem: Problem, optimizer: torch.optim.Optimizer, forward: Callable[[Split, bool], Tensor], label: Tensor
) -> dict[Split, Tensor]:
    """The answers of the step that validates best, or of the last one without validation."""
    best: tuple[float, dict[Split, Tensor]] = (float("-inf"), {})
    for step in range(_STEPS):
        optimizer.zero_grad()
        F.cross_entropy(forward("train", True), label).backward()
        optimizer.step()
        with torch.no_grad():
            said: dict[Split, Tensor] = {split: forward(split, False) for split in evaluated(problem)}
        good = problem.goodness("val", said["val"]) if "val" in said else step
        best = max(best, (good, said), key=lambda each: each[0])  # the first of equals: test decides nothing
    return best[1]


def _joined(problem: Problem, split: Split) -> tuple[Tensor, Tensor, Tensor]:
    """The graphs of a split as one: features, edges, which nodes count."""
    graphs = matrices(problem, split)
    starts = torch.tensor([0, *(len(each.x) for each in graphs)]).cumsum(0)
    edges = torch.cat([each.edges + start for each, start in zip(graphs, starts, strict=False)], 1)
    return torch.cat([each.x for each in graphs]), edges, masked(problem, split)
