"""Propagation: what is said of a node is carried along edges, to nodes of which nothing is known."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count, SomeShare


class GeneralizedPageRank(nn.Module):
    """`sum over k of weights[k] A^k x`, with learned weights (GPR-GNN,
    [Chien et al. 2021](https://arxiv.org/abs/2006.07988)) that begin as personalized PageRank (APPNP,
    [Gasteiger et al. 2019](https://arxiv.org/abs/1810.05997)).

    `A` is the adjacency of [Kipf and Welling (2017)](https://arxiv.org/abs/1609.02907), with a loop at every token and
    divided by the root of both degrees. Residual streams keep a token as it is, so that few labels are learned by
    heart; scores that travel along edges must hold for neighbours too. Where neighbours are of other classes it harms:
    weights may turn negative, and did not in short runs.

    Args:
        steps: edges that scores travel along at most; 10 as in both papers.
        teleport: share of a score that stays at each step, at the start; 0.1 as in both papers.

    Shapes:
        x `[tokens, features]` → the same.

    Raises:
        ValueError: `steps` is below 1, or `teleport` is not above 0 and at most 1.

    Example:
        >>> layout = Layout(lengths=torch.tensor([2]), edges=torch.tensor([[0, 1], [1, 0]]))
        >>> part = GeneralizedPageRank(steps=1, teleport=0.5)
        >>> part(torch.tensor([[1.0], [0.0]]), layout).round(decimals=2).tolist()
        [[0.75], [0.25]]
    """

    not_exported = "it follows the edges of the graph at hand"

    def __init__(self, *, steps: Count = 10, teleport: SomeShare = 0.1) -> None:
        super().__init__()
        checks.counts(steps=steps)
        if not 0 < teleport <= 1:
            raise ValueError(f"teleport={teleport} must be above 0 and at most 1")
        self.steps, self.teleport = steps, teleport
        self.weights = nn.Parameter(torch.empty(steps + 1))
        self.reset_parameters()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Carries rows along edges, within each sample."""
        weights = self.weights.to(x.dtype)
        total = weights[0] * x
        for weight in weights[1:]:
            x = propagated(x, layout)
            total = total + weight * x
        return total

    def reset_parameters(self) -> None:
        """Personalized PageRank."""
        kept = [(1 - self.teleport) ** k for k in range(self.steps + 1)]
        with torch.no_grad():
            self.weights.copy_(torch.tensor([*(a - b for a, b in pairwise(kept)), kept[-1]]))


def propagated(x: Tensor, layout: Layout) -> Tensor:
    """`A x`, one step along the edges of a layout; `x` itself where there are none.

    Shapes:
        x `[tokens, features]` → the same.

    Example:
        >>> layout = Layout(lengths=torch.tensor([2]), edges=torch.tensor([[0, 1], [1, 0]]))
        >>> propagated(torch.tensor([[1.0], [0.0]]), layout).round(decimals=3).tolist()
        [[0.5], [0.5]]
    """
    if layout.edges is None:
        return x
    source, target, weight, loop = layout.memo_of_graph("normalised adjacency", lambda: _normalised(layout))
    said = x.index_select(0, source) * weight[:, None].to(x.dtype)
    return (x * loop[:, None].to(x.dtype)).index_add(0, target, said)


def _normalised(layout: Layout) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ends and weights of all edges that join two tokens, and the weight of each token's own loop."""
    assert layout.edges is not None
    source, target = layout.edges[:, layout.edges[0] != layout.edges[1]]
    degree = torch.ones(layout.n_tokens, device=target.device)  # a loop each
    root = degree.index_add(0, target, torch.ones_like(target, dtype=degree.dtype)).rsqrt()
    return source, target, root[source] * root[target], root.square()
