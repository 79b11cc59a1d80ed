"""From the tokens of a picture to one vector: the mean of its patches, class tokens left out."""

from collections.abc import Callable

from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count


class PatchMean(nn.Module):
    """The mean of a sample's tokens behind the first ones, and a norm of it, which BEiT reads
    ([Bao et al. 2021](https://arxiv.org/abs/2106.08254), 2.6); zero for a sample without tokens.

    Args:
        d_model: width of the core.
        n_first: tokens in front of those that are averaged: class tokens and registers.
        norm: makes the norm of the mean, called with `d_model`; none by default.

    Shapes:
        x `[tokens, d_model]` → `[samples, d_model]`.

    Example:
        >>> import torch
        >>> x = torch.tensor([[9.0], [3.0], [5.0]])
        >>> PatchMean(d_model=1)(x, Layout.from_lengths(3, 0)).tolist()
        [[4.0], [0.0]]
    """

    def __init__(self, *, d_model: Count, n_first: Count = 1, norm: Callable[..., nn.Module] | None = None) -> None:
        super().__init__()
        checks.counts(d_model=d_model, n_first=n_first)
        self.n_first = n_first
        self.norm = nn.Identity() if norm is None else norm(d_model)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Averages the patches of each sample."""
        behind = x * (layout.index >= self.n_first)[:, None].to(x.dtype)
        total = x.new_zeros(layout.n_samples, x.shape[-1]).index_add(0, layout.sample, behind)
        n = layout.lengths.to(x.device)[:, None]
        return self.norm(total / (n - self.n_first).clamp(min=1).to(x.dtype)) * (n > 0).to(x.dtype)
