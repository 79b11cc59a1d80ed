"""The numbers of each token: a patch's pixels, a frame's bands."""

from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.init import linear_
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count
from omniformer.heads.head import Head


class ReconstructionHead(Head):
    """As many numbers for each token as its tokenizer gave it, by one linear map
    ([He et al. 2021](https://arxiv.org/abs/2111.06377), 3).

    Args:
        d_model: width of the core.
        features: numbers in one patch or frame.

    Shapes:
        x `[tokens, d_model]` → `[tokens, features]`.

    Example:
        >>> import torch
        >>> ReconstructionHead(d_model=8, features=16)(torch.zeros(5, 8), Layout.from_lengths(2, 3)).shape
        torch.Size([5, 16])
    """

    per_token = True
    output = "values"

    def __init__(self, *, d_model: Count, features: int) -> None:
        super().__init__()
        checks.counts(d_model=d_model, features=features)
        self.values = nn.Linear(d_model, features)
        self.reset_parameters()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """The numbers of each token."""
        return self.values(x)

    def predict(self, outputs: Tensor) -> Tensor:
        """The numbers themselves."""
        return outputs.float()

    def reset_parameters(self) -> None:
        """Predicts zeros at the start."""
        linear_(self.values, 0.0)
