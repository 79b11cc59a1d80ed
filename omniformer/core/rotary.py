"""Rotary positions: coordinates of tokens as rotations of queries and keys."""

from dataclasses import dataclass, field

import torch
from einops import rearrange
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.frequencies import Frequencies
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count, Natural, Positive
from omniformer.core.rotary_scaling import Scaling


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """Angles of one batch, computed once and shared by all layers.

    Shapes:
        cos and sin float32 `[tokens, 1, rotated]`, where rotated is an even number of features of a head.
    """

    cos: Tensor
    sin: Tensor
    _signed: Tensor = field(init=False)

    def __post_init__(self) -> None:
        first, second = self.sin.chunk(2, dim=-1)
        object.__setattr__(self, "_signed", torch.cat([-first, second], dim=-1))

    def __call__(self, x: Tensor) -> Tensor:
        """Rotates the first features of each head by the token's angles; the rest pass unchanged.

        Feature i turns with feature `i + rotated / 2`, as in GPT-NeoX and LLaMA.

        Shapes:
            `[tokens, heads, head_dim]` → the same.
        """
        rotated = self.cos.shape[-1]
        if rotated < x.shape[-1]:
            return torch.cat([self(x[..., :rotated]), x[..., rotated:]], dim=-1)
        other = x.roll(rotated // 2, dims=-1)  # the feature that each one turns with
        return (x * self.cos).add_(other * self._signed).to(x.dtype)


class Rotary(nn.Module):
    """Rotates query and key features by angles proportional to the token's coordinates, so that scores depend on
    coordinate differences only ([Su et al. 2021](https://arxiv.org/abs/2104.09864)).

    With several axes, each axis rotates its own share of the features. A coordinate that is constant within a sample,
    such as those of a graph's nodes, changes no score.

    Args:
        head_dim: features of a head.
        n_axes: number of coordinates; tokens with fewer are taken to lie at 0 on the others.
        base: the longest wavelength is about `2 pi base` positions; 10,000 as in the paper.
        rotated: features of a head that are rotated, the first ones; all of them by default. GPT-NeoX rotates a
            quarter.
        scaling: how to read longer contexts than in training: `LinearScaling`, `NTKScaling`, `DynamicNTK`,
            `YaRN`, `LongRoPE`, `Llama3Scaling`.

    Raises:
        ValueError: `rotated` is odd, has fewer than two features for each axis, or is more than `head_dim`; at first
            use, the layout's positions have more axes than `n_axes`.

    Example:
        >>> rotation = Rotary(head_dim=8)(Layout.from_lengths(3))
        >>> rotation(torch.ones(3, 1, 8)).shape
        torch.Size([3, 1, 8])
    """

    def __init__(
        self,
        *,
        head_dim: Count,
        n_axes: Natural = 1,
        base: Positive = 10_000.0,
        rotated: int | None = None,
        scaling: Scaling | None = None,
    ) -> None:
        super().__init__()
        checks.counts(head_dim=head_dim)
        checks.not_negative(n_axes=n_axes)
        checks.positive(base=base)
        rotated = head_dim if rotated is None else rotated
        if rotated % 2 or rotated < 2 * n_axes or rotated > head_dim:
            raise ValueError(
                f"rotated={rotated} features of head_dim={head_dim} must be even, at most head_dim, and at least 2 "
                f"for each of n_axes={n_axes}"
            )
        per_axis = rotated // 2 // n_axes
        frequency = base ** -(torch.arange(per_axis, dtype=torch.float64) / per_axis)
        if scaling is not None:
            frequency = scaling(frequency, base=base)
        self.frequency = Frequencies(frequency)
        self.n_axes, self.scaling = n_axes, scaling
        self.amplitude = 1.0 if scaling is None else scaling.amplitude

    def forward(self, layout: Layout, seen: Layout | None = None) -> Rotation:
        """The rotations of a batch, from the layout's positions, or the order of tokens where it has none.

        Args:
            layout: of the tokens that are turned.
            seen: of all tokens so far, where earlier ones wait in a cache, or of all of a text, where processes divide
                it; read where angles depend on other tokens, as on how long the text is.
        """
        positions = self._coordinates(layout, seen)
        given = positions.shape[1]
        if given > self.n_axes:
            raise ValueError(
                f"positions have {given} axes, this rotary has n_axes={self.n_axes}; set n_axes={given}, which in a "
                f"configuration is core.rotary.n_axes={given}"
            )
        # Angles in float32 whatever the model's dtype: in bfloat16 neighbours 300 and 301 would get the same one.
        angles = positions.float()[:, :, None] * self._frequencies(layout, seen)
        # A missing axis turns nothing, but keeps its share of the features.
        angles = nn.functional.pad(angles, (0, 0, 0, self.n_axes - given))
        angles = rearrange(angles, "tokens axes frequencies -> tokens 1 (axes frequencies)")
        angles = torch.cat([angles, angles], dim=-1)
        return Rotation(angles.cos() * self.amplitude, angles.sin() * self.amplitude)

    def _coordinates(self, layout: Layout, seen: Layout | None = None) -> Tensor:
        """Where each token lies, `[tokens, axes]`."""
        return layout.index[:, None] if layout.positions is None else layout.positions

    def _frequencies(self, layout: Layout, seen: Layout | None = None) -> Tensor:
        """Angles that one position turns, `[frequencies]`, or `[tokens, 1, frequencies]` where they depend on how long
        each text is.
        """
        usual, scaling = self.frequency(), self.scaling
        if scaling is None or scaling.longest is None:
            return usual
        # Where processes divide a text's tokens, its last one may be another's.
        whole = layout if seen is None else seen
        places = self._coordinates(whole)[:, 0]
        length = places.new_zeros(whole.n_samples).scatter_reduce(0, whole.sample, places, "amax") + 1
        longer = scaling.of_length(usual, length[:, None])
        return torch.where(length[:, None] > scaling.longest, longer, usual)[layout.sample][:, None]
