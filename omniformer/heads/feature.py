"""The core's output itself."""

from torch import Tensor

from omniformer.core.layout import Layout
from omniformer.heads.head import Head


class FeatureHead(Head):
    """What the core says of each token, as it is: for published models without a head, whose rule of who attends to
    whom belongs to a name of a task like any other's.

    Shapes:
        x `[tokens, d_model]` → the same.

    Example:
        >>> import torch
        >>> FeatureHead()(torch.ones(2, 3), Layout.from_lengths(2)).shape
        torch.Size([2, 3])
    """

    per_token = True
    output = "last_hidden_state"

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """The tokens."""
        return x

    def predict(self, outputs: Tensor) -> Tensor:
        """The features of each token, as numbers."""
        return outputs.float()

    def published(self, x: Tensor, layout: Layout) -> dict[str, Tensor]:
        """Nothing beside the core's output."""
        return {}
