"""One vector of a graph: what its nodes add up to, seen as a whole."""

from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.feedforward import Activation, activation_of
from omniformer.core.init import linear_
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count
from omniformer.heads.pooling import SumPool


class DenseSumPool(SumPool):
    """The sum of a sample's tokens through a linear map and an activation, with which GIN's classifiers of graphs begin
    ([Xu et al. 2019](https://arxiv.org/abs/1810.00826)): a linear map of the sum alone would give each token its share
    of the answer whatever the others are. The map of zero for a sample without tokens.

    Args:
        d_model: width of the core.
        d_out: width of what comes out; `d_model` by default.
        activation: "relu" as in GIN.

    Shapes:
        x `[tokens, d_model]` → `[samples, d_out]`.

    Example:
        >>> import torch
        >>> DenseSumPool(d_model=4, d_out=3)(torch.zeros(3, 4), Layout.from_lengths(1, 2)).shape
        torch.Size([2, 3])
    """

    def __init__(self, *, d_model: Count, d_out: Count | None = None, activation: Activation = "relu") -> None:
        checks.counts(d_model=d_model, d_out=d_out)
        super().__init__(d_model=d_model)
        self.d_out = d_model if d_out is None else d_out
        self.map = nn.Linear(d_model, self.d_out)
        self.activation = activation_of(activation)
        self.reset_parameters()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Adds up each sample and maps it."""
        return self.activation(self.map(super().forward(x, layout)))

    def reset_parameters(self) -> None:
        """Draws the map anew."""
        linear_(self.map, self.map.in_features**-0.5)
