"""A convolution whose filters are brought to mean zero and one spread at every use."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.ranges import Count

_GAIN = 2**0.5  # a ReLU halves the power of what it lets through (He et al. 2015)
_EPSILON = 1e-6


class StandardizedConv2d(nn.Conv2d):
    """A convolution of width 3 whose filters have mean zero and one spread, whatever was learned (weight
    standardization, [Qiao et al. 2019](https://arxiv.org/abs/1903.10520); with a gain for each filter as in
    [Brock et al. 2021](https://arxiv.org/abs/2101.08692), 2).

    With a norm of each picture behind it, it learns from few pictures what a norm of the batch would learn, and no
    picture is changed by the others of its batch (docs/trials.md, "Few pictures").

    Args:
        in_channels: of the input.
        out_channels: filters.

    Raises:
        ValueError: a number is none to count by.

    Shapes:
        `[samples, in_channels, height, width]` → `[samples, out_channels, height, width]`, zeros around each.

    Example:
        >>> from omniformer.embedders.standardized_conv import StandardizedConv2d
        >>> conv = StandardizedConv2d(3, 8)
        >>> conv.standardized().mean((1, 2, 3)).abs().max().item() < 1e-6
        True
    """

    def __init__(self, in_channels: Count, out_channels: Count) -> None:
        checks.counts(in_channels=in_channels, out_channels=out_channels)
        super().__init__(in_channels, out_channels, 3, padding=1)
        self.gain = nn.Parameter(torch.ones(out_channels))

    def standardized(self) -> Tensor:
        """The filters as they are used: of variance `2 / inputs` times the square of their gain."""
        scale = self.gain * (_GAIN * self.weight[0].numel() ** -0.5)
        rows = self.weight.flatten(1)
        variance, mean = torch.var_mean(rows, 1, correction=0, keepdim=True)
        return ((rows - mean) * ((variance + _EPSILON).rsqrt() * scale[:, None])).view_as(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        """The filtered pictures."""
        return F.conv2d(input, self.standardized(), self.bias, padding=1)

    def reset_parameters(self) -> None:
        """Draws the filters anew; offsets are zero and gains one."""
        nn.init.kaiming_normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        if hasattr(self, "gain"):  # not yet while PyTorch makes the rest
            nn.init.ones_(self.gain)
