"""Which tokens somebody has replaced."""

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.feedforward import Activation, activation_of
from omniformer.core.init import linear_
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count
from omniformer.heads.head import Head


class ReplacedHead(Head):
    """For each token whether it stands in the place of another, which a small model has put there
    ([Clark et al. 2020](https://arxiv.org/abs/2003.10555), ELECTRA, 2).

    Args:
        d_model: width of the core.
        activation: between its two maps.

    Shapes:
        x `[tokens, d_model]` → `[tokens, 1]`.

    Example:
        >>> head = ReplacedHead(d_model=4)
        >>> head.predict(head(torch.zeros(3, 4), Layout.from_lengths(3))).shape
        torch.Size([3, 2])
    """

    per_token = True
    tells_classes = True

    def __init__(self, *, d_model: Count, activation: Activation = "gelu") -> None:
        super().__init__()
        checks.counts(d_model=d_model)
        self.map = nn.Linear(d_model, d_model)
        self.activation = activation_of(activation)
        self.score = nn.Linear(d_model, 1)
        self.reset_parameters()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """The logit of each token's being replaced."""
        return self.score(self.activation(self.map(x)))

    def predict(self, outputs: Tensor) -> Tensor:
        """Probabilities of being original and of being replaced."""
        replaced = outputs.float().sigmoid()
        return torch.cat([1 - replaced, replaced], dim=-1)

    def published(self, x: Tensor, layout: Layout) -> dict[str, Tensor]:
        """One logit for each token."""
        return {"logits": self(x, layout)[:, 0]}

    def reset_parameters(self) -> None:
        """Draws the maps anew."""
        linear_(self.map, 0.02)
        linear_(self.score, 0.0)
