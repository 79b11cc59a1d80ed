"""A convolution over the last few tokens of a sample, which a decoder carries on from token to token."""

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count


class ShortConv(nn.Module):
    """Each feature of a token, its own and those of the few tokens before it, weighted by place
    ([Poli et al. 2023](https://arxiv.org/abs/2302.10866), 3.1). Before a sample stand zeros.

    Args:
        features: of a token.
        kernel: tokens that it sees, the token itself included.
        bias: whether each feature has an offset.

    Shapes:
        x `[tokens, features]`, before `[samples, kernel - 1, features]` → `[tokens, features]`, and as before.

    Example:
        >>> from omniformer.core.layout import Layout
        >>> ShortConv(4)(torch.randn(5, 4), Layout.from_lengths(2, 3))[0].shape
        torch.Size([5, 4])
    """

    def __init__(self, features: Count, *, kernel: Count = 4, bias: bool = False) -> None:
        super().__init__()
        checks.counts(features=features, kernel=kernel)
        self.weight = nn.Parameter(torch.empty(kernel, features))
        self.bias = nn.Parameter(torch.empty(features)) if bias else None
        self.reset_parameters()

    def forward(self, x: Tensor, layout: Layout, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The weighted sums, and the last tokens of each sample, from which its next ones go on.

        Args:
            x: tokens of all samples, end to end.
            layout: where they begin and end.
            before: the last tokens before these; zeros by default.
        """
        n = len(self.weight) - 1
        if before is None:
            before = x.new_zeros(layout.n_samples, n, x.shape[1])
        # In one row: of each sample what stood before, then its tokens.
        sample = torch.arange(layout.n_samples, device=x.device)
        first = layout.offsets[:-1] + sample * n
        place = torch.arange(len(x), device=x.device) + (layout.sample + 1) * n
        row = x.new_zeros(len(x) + before.shape[0] * n, x.shape[1])
        row = row.index_copy(0, place, x)
        row = row.index_copy(
            0, (first[:, None] + torch.arange(n, device=x.device)).flatten(), before.to(x).flatten(0, 1)
        )
        out = sum(row.index_select(0, place - n + i) * weight for i, weight in enumerate(self.weight.to(x.dtype)))
        end = layout.offsets[1:] + (sample + 1) * n
        last = row[end[:, None] - n + torch.arange(n, device=x.device)]
        return torch.as_tensor(out if self.bias is None else out + self.bias.to(x.dtype)), last

    def reset_parameters(self) -> None:
        """Draws the weights anew, so that sums keep the size of what they add up."""
        nn.init.normal_(self.weight, std=len(self.weight) ** -0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
