"""What stands between a core and the scores of ids in models that find hidden tokens."""

from torch import Tensor, nn

from omniformer.core.feedforward import Activation, activation_of
from omniformer.core.init import linear_
from omniformer.core.ranges import Count, Positive


class Transform(nn.Module):
    """A linear map, an activation and a norm before the scores of ids, as BERT has them
    ([Devlin et al. 2018](https://arxiv.org/abs/1810.04805), their published code).

    Args:
        d_model: width of what comes out, that of the table of ids.
        d_in: width of the core, where it is another, as in ALBERT and ELECTRA.
        activation: "gelu" as in BERT.
        eps: added to the norm's variance; 1e-12 as in BERT.
        bias: whether map and norm have offsets; ModernBERT's have none.

    Shapes:
        `[tokens, d_in]` → `[tokens, d_model]`.

    Example:
        >>> import torch
        >>> Transform(d_model=8)(torch.zeros(3, 8)).shape
        torch.Size([3, 8])
    """

    def __init__(
        self,
        *,
        d_model: Count,
        d_in: Count | None = None,
        activation: Activation = "gelu",
        eps: Positive = 1e-12,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.map = nn.Linear(d_model if d_in is None else d_in, d_model, bias=bias)
        self.activation = activation_of(activation)
        self.norm = nn.LayerNorm(d_model, eps=eps, bias=bias)
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Maps each token by itself."""
        return self.norm(self.activation(self.map(x)))

    def reset_parameters(self) -> None:
        """Draws the map anew; the norm begins as in PyTorch."""
        linear_(self.map, 0.02)
        self.norm.reset_parameters()
