"""A block whose first layer also sees the tokens' neighbours."""

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.attention.multihead import Context
from omniformer.core.block import Block, Parts
from omniformer.core.dropout import Dropout
from omniformer.core.feedforward import Activation, activation_of
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count


class ConvFirstBlock(Block):
    """`Block`, of which the first adds to what it gives a convolution over what it is given, and normalises the sum
    ([He et al. 2020](https://arxiv.org/abs/2006.03654), DeBERTa v2 of 900 million weights and more): what stands beside
    a piece of a word.

    Args:
        parts: what it is made from.
        kernel: tokens that the convolution sees, the token in the middle; an odd number, 3 as published.
        groups: parts of the features that do not see each other.
        activation: of the convolution; "tanh" as in the reference where files say nothing.

    Raises:
        ValueError: `kernel` is even, or `groups` does not divide `d_model`.

    Example:
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=8, n_layers=2, n_heads=2, block=ConvFirstBlock)
        >>> core(torch.randn(5, 8), Layout.from_lengths(2, 3)).shape
        torch.Size([5, 8])
    """

    def __init__(self, parts: Parts, *, kernel: Count = 3, groups: Count = 1, activation: Activation = "tanh") -> None:
        super().__init__(parts)
        self.conv = None
        if parts.layer == 0:
            self.conv = NeighbourConv(parts.d_model, kernel=kernel, groups=groups)
            self.conv_norm, self.conv_dropout = parts.norm(parts.d_model), Dropout(parts.dropout)
            self.activation = activation_of(activation)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Passes tokens `[tokens, d_model]` through both connections, and the first block's also past them."""
        out = super().forward(x, context)
        if self.conv is None:
            return out
        beside = self.activation(self.conv_dropout(self.conv(x, context.plan.layout)))
        return self.conv_norm(out + beside)


class NeighbourConv(nn.Module):
    """A convolution over the tokens of each sample; beyond its ends stand zeros.

    Args:
        features: of a token.
        kernel: tokens that it sees, the token in the middle; an odd number.
        groups: parts of the features that do not see each other.

    Shapes:
        x `[tokens, features]` → the same.

    Raises:
        ValueError: `kernel` is even, or `groups` does not divide `features`.

    Example:
        >>> NeighbourConv(4, kernel=3)(torch.randn(5, 4), Layout.from_lengths(2, 3)).shape
        torch.Size([5, 4])
    """

    not_exported = "it counts the tokens beside a token in packed order"

    def __init__(self, features: Count, *, kernel: Count = 3, groups: Count = 1) -> None:
        super().__init__()
        checks.counts(features=features, kernel=kernel, groups=groups)
        if kernel % 2 == 0 or features % groups:
            raise ValueError(f"kernel={kernel} must be odd, and groups={groups} must divide the {features} features")
        self.weight = nn.Parameter(torch.empty(features, features // groups, kernel))
        self.bias = nn.Parameter(torch.empty(features))
        self.groups = groups
        self.reset_parameters()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """What each token and its neighbours give."""
        kernel, token = self.weight.shape[2], torch.arange(len(x), device=x.device)
        weight = self.weight.unflatten(0, (self.groups, -1))  # groups, out, in, kernel
        out = self.bias.expand(len(x), -1)
        for i in range(kernel):
            place = (token + i - kernel // 2).clamp(0, max(len(x) - 1, 0))
            own = (layout.sample[place] == layout.sample) & (place == token + i - kernel // 2)
            near = torch.where(own[:, None], x.index_select(0, place), 0.0).unflatten(1, (self.groups, -1))
            out = out + torch.einsum("tgi,goi->tgo", near, weight[..., i]).flatten(1)
        return out

    def reset_parameters(self) -> None:
        """Draws the weights anew, so that sums keep the size of what they add up."""
        nn.init.normal_(self.weight, std=self.weight[0].numel() ** -0.5)
        nn.init.zeros_(self.bias)
