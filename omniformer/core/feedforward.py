"""Position-wise feed-forward layers: two linear maps with something in between, the same for every token."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.by_hand import by_hand
from omniformer.core.dropout import Dropout
from omniformer.core.init import linear_
from omniformer.core.projections import Projection, stack
from omniformer.core.ranges import BelowOne, Count


def squared_relu(x: Tensor) -> Tensor:
    """`relu(x)^2` ([So et al. 2021](https://arxiv.org/abs/2109.08668)), with a backward pass written by hand where that
    pays.

    Example:
        >>> squared_relu(torch.tensor([-1.0, 3.0])).tolist()
        [0.0, 9.0]
    """
    return _SquaredReLU.apply(x)[0] if by_hand(x) else F.relu(x).square()  # pyright: ignore[reportOptionalSubscript]


class _SquaredReLU(torch.autograd.Function):
    """`relu(x)^2` and `relu(x)`. The latter is kept for the backward pass, which is then one pass over the hidden
    features of all tokens, where autograd makes four; the square is the same to the last bit, and so is its gradient.
    What is kept is an output, so that derivatives of derivatives know what it was made of.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        positive = F.relu(x)
        ctx.save_for_backward(positive)
        ctx.set_materialize_grads(False)
        return positive.square(), positive

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, of_positive: Tensor | None) -> Tensor | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        (positive,) = ctx.saved_tensors
        found = None if grad is None else torch.addcmul(grad.new_zeros(()), positive, grad, value=2)
        if of_positive is None:
            return found
        through = of_positive * (positive > 0)
        return through if found is None else found + through


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu2": squared_relu,
    "silu": F.silu,
    "tanh": torch.tanh,
}
Activation = Literal["relu", "gelu", "gelu_tanh", "quick_gelu", "relu2", "silu", "tanh"]


def activation_of(name: str) -> Callable[[Tensor], Tensor]:
    """An activation by its name.

    Raises:
        ValueError: there is none of this name.

    Example:
        >>> activation_of("relu")(torch.tensor([-1.0, 1.0])).tolist()
        [0.0, 1.0]
    """
    checks.known(ACTIVATIONS, activation=name)
    return ACTIVATIONS[name]


class FeedForward(nn.Module):
    """`down(activation(up(x)))` ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), 3.3).

    Args:
        d_model: width of the residual stream.
        d_ff: width in between; four times `d_model` by default, as in the paper.
        activation: "relu" (2017), "gelu" ([Hendrycks and Gimpel 2016](https://arxiv.org/abs/1606.08415); "gelu_tanh" is
            its approximation in GPT-2, "quick_gelu" that in CLIP), "relu2"
            ([So et al. 2021](https://arxiv.org/abs/2109.08668)), "silu" or "tanh".
        dropout: share of the hidden features set to zero in training.
        bias: whether the linear maps have offsets.

    Example:
        >>> FeedForward(8)(torch.zeros(3, 8)).shape
        torch.Size([3, 8])
    """

    def __init__(
        self,
        d_model: Count,
        *,
        d_ff: Count | None = None,
        activation: Activation = "gelu",
        dropout: BelowOne = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, d_ff=d_ff)
        d_ff = 4 * d_model if d_ff is None else d_ff
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)
        self.activation = activation_of(activation)
        checks.below_one(dropout=dropout)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, context: object = None) -> Tensor:
        """Maps each token `[..., d_model]` by itself."""
        hidden = self.activation(self.up(x))
        return self.down(self.dropout(hidden) if self.training else hidden)

    @property
    def projections(self) -> dict[str, Projection]:
        """`up` and `down`."""
        return stack("up", up=self.up.out_features) | stack("down", down=self.down.out_features)

    def draw_weights(self, std: float, output_std: float) -> None:
        linear_(self.up, std)
        linear_(self.down, output_std)


class GatedFeedForward(nn.Module):
    """`down(activation(gate(x)) * up(x))` ([Shazeer 2020](https://arxiv.org/abs/2002.05202)): SwiGLU with "silu", GEGLU
    with "gelu".

    Args:
        d_model: width of the residual stream.
        d_ff: width in between; `8/3 d_model` by default, rounded up to a multiple of 8, so that the layer has as many
            weights as an ungated one.
        activation: of the gate.
        dropout: share of the hidden features set to zero in training.
        bias: whether the linear maps have offsets; none, as in LLaMA.
        norm: makes a norm of the gated features, called with `d_ff`, as in EVA-02
            ([Fang et al. 2023](https://arxiv.org/abs/2303.11331), 2.1, "sub-LN"); none by default.

    Example:
        >>> GatedFeedForward(8)(torch.zeros(3, 8)).shape
        torch.Size([3, 8])
    """

    def __init__(
        self,
        d_model: Count,
        *,
        d_ff: Count | None = None,
        activation: Activation = "silu",
        dropout: BelowOne = 0.0,
        bias: bool = False,
        norm: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, d_ff=d_ff)
        d_ff = -(-d_model // 3) * 8 if d_ff is None else d_ff
        self.gate_up = nn.Linear(d_model, 2 * d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)
        self.norm = nn.Identity() if norm is None else norm(d_ff)
        self.activation = activation_of(activation)
        checks.below_one(dropout=dropout)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, context: object = None) -> Tensor:
        """Maps each token `[..., d_model]` by itself."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        hidden = self.norm(self.activation(gate) * up)
        return self.down(self.dropout(hidden) if self.training else hidden)

    @property
    def projections(self) -> dict[str, Projection]:
        """`gate`, `up` and `down`."""
        d_ff = self.down.in_features
        return stack("gate_up", gate=d_ff, up=d_ff) | stack("down", down=self.down.out_features)

    def draw_weights(self, std: float, output_std: float) -> None:
        linear_(self.gate_up, std)
        linear_(self.down, output_std)
