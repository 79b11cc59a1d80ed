"""Positions that a convolution over the tokens computes."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from omniformer.core import checks
from omniformer.core.ranges import Count


class ConvPositions(nn.Module):
    """Positions relative to what is near: a wide convolution in groups over the vectors of each sample, its kernels of
    learned length at each place, behind a GELU ([Baevski et al. 2020](https://arxiv.org/abs/2006.11477), 2;
    [Mohamed et al. 2019](https://arxiv.org/abs/1904.11660); lengths after [Salimans and Kingma
    2016](https://arxiv.org/abs/1602.07868)).

    Beyond both ends of a sample stand zeros. An even kernel sees one token more before than behind.

    Args:
        d_model: width of the core.
        kernel: tokens that it sees; 128 as in wav2vec 2.0.
        groups: parts of the features that do not see each other; 16 as in wav2vec 2.0.

    Shapes:
        x `[tokens, d_model]`, lengths int64 `[samples]` → `[tokens, d_model]`.

    Raises:
        ValueError: a number is below 1, or `groups` does not divide `d_model`.

    Example:
        >>> ConvPositions(d_model=8, kernel=3, groups=2)(torch.randn(5, 8), torch.tensor([2, 3])).shape
        torch.Size([5, 8])
    """

    def __init__(self, *, d_model: Count, kernel: Count = 128, groups: Count = 16) -> None:
        super().__init__()
        checks.counts(d_model=d_model, kernel=kernel, groups=groups)
        if d_model % groups:
            raise ValueError(f"groups={groups} does not divide d_model={d_model}")
        self.groups = groups
        self.direction = nn.Parameter(torch.empty(d_model, d_model // groups, kernel))
        self.size = nn.Parameter(torch.empty(kernel))
        self.bias = nn.Parameter(torch.empty(d_model))
        self.reset_parameters()

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The positions of all tokens."""
        rows = pad_sequence([*x.split(lengths.tolist()), x.new_zeros(1, x.shape[1])], batch_first=True)[:-1]
        kernel = self.direction.shape[2]
        weight = self.direction * (self.size / self.direction.norm(dim=(0, 1)))
        found = F.conv1d(rows.transpose(1, 2), weight, self.bias, padding=kernel // 2, groups=self.groups)
        found = F.gelu(found[..., : rows.shape[1]]).transpose(1, 2)
        return found[torch.arange(rows.shape[1], device=x.device) < lengths.to(x.device)[:, None]]

    def reset_parameters(self) -> None:
        """Draws the kernels anew, so that their sums keep the size of the vectors."""
        kernel, each = self.direction.shape[2], self.direction.shape[1]
        nn.init.normal_(self.direction, std=2 * (kernel * each) ** -0.5)
        with torch.no_grad():
            self.size.copy_(self.direction.norm(dim=(0, 1)))
        nn.init.zeros_(self.bias)
