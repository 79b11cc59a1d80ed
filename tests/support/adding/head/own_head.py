"""Classes in an order."""

import torch
from torch import Tensor, nn

from omniformer.core.layout import Layout
from omniformer.core.ranges import Count
from omniformer.heads import Head, MeanPool


class Grades(Head):
    """How likely each threshold between classes in an order is passed (McCullagh 1980).

    Args:
        d_model: features of a token.
        n_classes: how many grades there are, the lowest first.
    """

    def __init__(self, *, d_model: Count, n_classes: Count) -> None:
        super().__init__()
        self.pool, self.height = MeanPool(d_model=d_model), nn.Linear(d_model, 1)
        self.thresholds = nn.Parameter(torch.linspace(-1, 1, n_classes - 1))

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        return self.height(self.pool(x, layout)) - self.thresholds

    def predict(self, outputs: Tensor) -> Tensor:
        passed = nn.functional.pad(outputs.sigmoid(), (1, 1))
        passed[:, 0] = 1
        return passed[:, :-1] - passed[:, 1:]
