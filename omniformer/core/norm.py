"""Normalisation over the features of one token."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.by_hand import by_hand
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

    def forward(self, input: Tensor) -> Tensor:
        """Normalises `[..., d_model]`."""
        return torch.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


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
        return _by_root_mean_square(x, self.weight.to(x.dtype), self.eps)

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
        return _by_root_mean_square(x.float(), 1.0 + self.weight.float(), self.eps).to(x.dtype)

    def reset_parameters(self) -> None:
        """Sets the gain to one, which is a weight of zero."""
        nn.init.zeros_(self.weight)


class GroupRMSNorm(nn.Module):
    """`RMSNorm` of each of several groups of features by itself, with a gain for each feature
    ([Dao and Gu 2024](https://arxiv.org/abs/2405.21060), 7.2, Mamba-2).

    It is computed in float32 whatever the tokens' dtype, in float64 where that is theirs.

    Args:
        d_model: number of features of a token.
        n_groups: how many groups there are.
        eps: added to the mean square; 1e-5 as published.

    Raises:
        ValueError: `n_groups` does not divide `d_model`.

    Example:
        >>> GroupRMSNorm(4, n_groups=2)(torch.tensor([[3.0, 3.0, 0.5, 0.5]])).round().tolist()
        [[1.0, 1.0, 1.0, 1.0]]
    """

    def __init__(self, d_model: Count, *, n_groups: Count = 1, eps: Positive = 1e-5) -> None:
        super().__init__()
        checks.counts(d_model=d_model, n_groups=n_groups)
        checks.positive(eps=eps)
        if d_model % n_groups:
            raise ValueError(f"n_groups={n_groups} does not divide d_model={d_model}")
        self.weight = nn.Parameter(torch.ones(d_model))
        self.n_groups, self.eps = n_groups, eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalises `x [..., d_model]`."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32)).unflatten(-1, (self.n_groups, -1))
        return F.rms_norm(wide, wide.shape[-1:], eps=self.eps).flatten(-2).to(x.dtype) * self.weight.to(x.dtype)

    def reset_parameters(self) -> None:
        """Sets the gain to one."""
        nn.init.ones_(self.weight)


def _by_root_mean_square(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """`x / sqrt(mean(x^2) + eps) * gain`: with a backward pass written by hand where that pays."""
    if by_hand(x, gain):
        return _RootMeanSquare.apply(x, gain, eps)  # pyright: ignore[reportReturnType]
    return F.rms_norm(x, gain.shape, gain, eps)


class _RootMeanSquare(torch.autograd.Function):
    """`F.rms_norm`, to the last bit, which autograd derives in a dozen passes over the tokens; here they are five.

    With r = 1 / sqrt(mean(x^2) + eps) and output gradient g: dx = r (g gain - x r^2 mean(g gain x)), and dgain is the
    sum of g x r over tokens.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        root = _inverse_root(wide, eps)
        ctx.eps = eps
        ctx.save_for_backward(x, gain, root)
        return (wide * root).mul_(gain).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, gain, root = ctx.saved_tensors
        wide, grad = x.to(root.dtype), grad.to(root.dtype)
        if torch.is_grad_enabled():  # for derivatives of these, which depend on the root, too
            root = _inverse_root(wide, ctx.eps)
        along = grad * wide
        mean = (along @ gain.to(root.dtype)).unsqueeze(-1)
        of_gain = along.reshape(-1, x.shape[-1]).t() @ root.reshape(-1)
        of_x = (grad * gain).mul_(root).addcmul_(wide, mean * root.pow(3), value=-1 / x.shape[-1])
        return of_x.to(x.dtype), of_gain.to(gain.dtype), None


def _inverse_root(x: Tensor, eps: float) -> Tensor:
    return torch.rsqrt(x.square().mean(-1, keepdim=True).add_(eps))
