"""From the tokens of a sample to what they are like on average and how much they differ."""

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count

_EPSILON = 1e-5  # of the variance: the root has a gradient where all tokens are alike


class StatisticsPool(nn.Module):
    """The mean of a sample's tokens beside their standard deviation, which x-vectors call statistics pooling
    ([Snyder et al. 2017](https://doi.org/10.21437/Interspeech.2017-620)): of sounds, how much changes tells the kind
    as well as what is heard on average. Zero for a sample without tokens.

    Args:
        d_model: width of the core.

    Shapes:
        x `[tokens, d_model]` → `[samples, 2 d_model]`.

    Example:
        >>> x = torch.tensor([[1.0], [5.0], [3.0]])
        >>> StatisticsPool(d_model=1)(x, Layout.from_lengths(2, 1, 0)).round(decimals=2).tolist()
        [[3.0, 2.0], [3.0, 0.0], [0.0, 0.0]]
    """

    def __init__(self, *, d_model: Count) -> None:
        super().__init__()
        checks.counts(d_model=d_model)
        self.d_out = 2 * d_model

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """The mean and the deviation of each sample."""
        count = layout.lengths.to(x.device).clamp(min=1)[:, None]
        wide, sample = x.float(), layout.sample  # squares are more than half precision holds
        none = wide.new_zeros(layout.n_samples, x.shape[-1])
        mean = none.index_add(0, sample, wide) / count
        variance = none.index_add(0, sample, (wide - mean[sample]).square()) / count
        # Taken off again: tokens that are all alike have no deviation.
        deviation = (variance + _EPSILON).sqrt() - _EPSILON**0.5
        return torch.cat([mean, deviation], dim=-1).to(x.dtype)
