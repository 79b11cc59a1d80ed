"""Rotary positions of patches by where their centres lie in the picture, whatever its size."""

import math

import torch
from torch import Tensor

from omniformer.core import checks
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count, Natural, Positive
from omniformer.core.rotary import Rotary


class CentredRotary(Rotary):
    """`Rotary` of patches between the edges of their picture, at -1 and 1, as in DINOv3 ([Siméoni et al.
    2025](https://arxiv.org/abs/2508.10104), 3.2): a picture of more patches has nearer ones, not further ones.

    A sample's largest row and column say how many it has, so that the last ones of a picture must be among its tokens.
    One turn at the shortest wavelength is a step of 1.

    Args:
        head_dim: features of a head.
        n_axes: number of coordinates; rows and columns by default.
        base: as for `Rotary`; 100 as in DINOv3.
        n_first: tokens in front of each sample that stand nowhere and are not turned, such as its class token.

    Raises:
        ValueError: as for `Rotary`; `n_first` is below 0.

    Example:
        >>> places = Layout(lengths=torch.tensor([2]), positions=torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
        >>> CentredRotary(head_dim=4)(places).cos[:, 0].round().tolist()  # one row, and columns half a turn each way
        [[1.0, -1.0, 1.0, -1.0], [1.0, -1.0, 1.0, -1.0]]
    """

    def __init__(self, *, head_dim: Count, n_axes: Natural = 2, base: Positive = 100.0, n_first: Natural = 0) -> None:
        super().__init__(head_dim=head_dim, n_axes=n_axes, base=base)
        checks.not_negative(n_first=n_first)
        self.n_first = n_first

    def _coordinates(self, layout: Layout, seen: Layout | None = None) -> Tensor:
        places = super()._coordinates(layout).float()
        # Where processes divide a sample's tokens, its last row and column are among those of all.
        whole = layout if seen is None else seen
        known = super()._coordinates(whole).float()
        most = known.new_zeros(whole.n_samples, known.shape[1])
        sizes = most.scatter_reduce(0, whole.sample[:, None].expand_as(known), known, "amax") + 1
        centres = 2 * (places + 0.5) / sizes[layout.sample] - 1
        return torch.where((layout.index < self.n_first)[:, None], 0.0, 2 * math.pi * centres)
