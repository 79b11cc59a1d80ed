"""Rotary positions of several axes that share one range of wavelengths, section by section."""

from collections.abc import Sequence

import torch
from torch import Tensor

from omniformer.core.layout import Layout
from omniformer.core.ranges import Count, Positive
from omniformer.core.rotary import Rotary, Rotation
from omniformer.core.rotary_scaling import Scaling


class SectionedRotary(Rotary):
    """Each frequency turns by the coordinate of one axis, section after section from fast frequencies to slow ones
    ([Wang et al. 2024](https://arxiv.org/abs/2409.12191), Qwen2-VL, 2.1: time, height and width).

    `Rotary` gives every axis the whole range of wavelengths in a share of its own; here the axes share one range, and
    tokens with a single coordinate, such as those of text, turn exactly as in `Rotary` of one axis, since it counts for
    all of theirs.

    Args:
        head_dim: features of a head.
        sections: frequencies that each axis has; half of `head_dim` together. Qwen2-VL's are 16, 24 and 24.
        base: as for `Rotary`, like the next.
        scaling: how to read longer contexts than in training.

    Raises:
        ValueError: the sections are not half of `head_dim` together; at first use, the layout's positions have neither
            one axis nor one for each section.

    Example:
        >>> rotary = SectionedRotary(head_dim=8, sections=[2, 1, 1])
        >>> rotary(Layout.from_lengths(3)).cos.shape
        torch.Size([3, 1, 8])
    """

    def __init__(
        self,
        *,
        head_dim: Count,
        sections: Sequence[Count],
        base: Positive = 10_000.0,
        scaling: Scaling | None = None,
    ) -> None:
        super().__init__(head_dim=head_dim, base=base, scaling=scaling)
        if sum(sections) != head_dim // 2 or min(sections, default=0) < 1:
            raise ValueError(f"sections={list(sections)} must be positive and half of head_dim={head_dim} together")
        self.sections = list(sections)

    def forward(self, layout: Layout, seen: Layout | None = None) -> Rotation:
        """The rotations of a batch, as for `Rotary`."""
        positions = self._coordinates(layout, seen)
        given, wanted = positions.shape[1], len(self.sections)
        if given not in (1, wanted):
            raise ValueError(f"positions have {given} axes, sections={self.sections} need one, or {wanted}")
        axis = torch.repeat_interleave(torch.arange(wanted), torch.tensor(self.sections)).to(positions.device)
        own: Tensor = positions.float().expand(-1, wanted)[:, axis]
        angles = own[:, None] * self._frequencies(layout, seen)
        angles = torch.cat([angles, angles], dim=-1)
        return Rotation(angles.cos() * self.amplitude, angles.sin() * self.amplitude)
