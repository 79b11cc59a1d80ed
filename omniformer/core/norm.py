"""Normalisation over the features of one token."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.ranges import Count, Positive


class LayerNorm(nn.LayerNorm):
    """Subtracts the mean, divides by the deviation ([Ba et al. 2016](https://arxiv.org/abs/1607.06450)).

    Args:
        d_model: number of features of a token.
        eps: added to the variance; 1e-5 as in PyTorch.
        bias: whether to learn an offset beside the gain.
        gain: whether to learn a gain; without one there is no offset either, as where `AdaptiveNorm` gives both.

    Example:
        >>> LayerNorm(2)(torch.tensor([[1.0, 3.0]])).round().tolist()
        [[-1.0, 1.0]]
    """

    def __init__(self, d_model: Count, *, eps: Positive = 1e-5, bias: bool = True, gain: bool = True) -> None:
        checks.counts(d_model=d_model)
        checks.positive(eps=eps)
        super().__init__(d_model, eps=eps, elementwise_affine=gain, bias=bias)


class RMSNorm(nn.Module):
    """Divides by the root mean square, without mean or offset ([Zhang and Sennrich 2019](https://arxiv.org/abs/1910.07467)).

    Args:
        d_model: number of features of a token.
        eps: added to the mean square; 1e-6 as in LLaMA.

    Example:
        >>> RMSNorm(2)(torch.tensor([[3.0, 3.0]])).round().tolist()
        [[1.0, 1.0]]
    """

    def __init__(self, d_model: Count, *, eps: Positive = 1e-6) -> None:
        super().__init__()
        checks.counts(d_model=d_model)
        checks.positive(eps=eps)
        self.weight = nn.Parameter(torch.ones(d_model))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalises `x [..., d_model]`."""
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)

    def reset_parameters(self) -> None:
        """Sets the gain to one."""
        nn.init.ones_(self.weight)


class ZeroCenteredRMSNorm(RMSNorm):
    """`RMSNorm` whose gain is `1 + weight`, with weights that begin at zero: weight decay then pulls gains to one
    ([Gemma Team 2024](https://arxiv.org/abs/2403.08295)).

    It is computed in float32 whatever the tokens' dtype: in bfloat16 no gain between 1 and 1.0078 exists.

    Args:
        d_model: number of features of a token.
        eps: added to the mean square; 1e-6 as in Gemma.

    Example:
        >>> norm = ZeroCenteredRMSNorm(2)
        >>> norm(torch.tensor([[3.0, 3.0]])).round().tolist(), norm.weight.tolist()
        ([[1.0, 1.0]], [0.0, 0.0])
    """

    def __init__(self, d_model: Count, *, eps: Positive = 1e-6) -> None:
        super().__init__(d_model, eps=eps)
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), self.weight.shape, 1.0 + self.weight.float(), self.eps).to(x.dtype)

    def reset_parameters(self) -> None:
        """Sets the gain to one, which is a weight of zero."""
        nn.init.zeros_(self.weight)
