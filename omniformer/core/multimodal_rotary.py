"""Rotary positions of texts that hold pictures: each picture is as long as its longer side."""

from collections.abc import Sequence

import torch
from torch import Tensor

from omniformer.core.layout import Layout
from omniformer.core.ranges import Count, Natural, Positive
from omniformer.core.rotary_scaling import Scaling
from omniformer.core.sectioned_rotary import SectionedRotary


class MultimodalRotary(SectionedRotary):
    """M-RoPE: words count on, and patches lie at time, row and column behind the last word
    ([Wang et al. 2024](https://arxiv.org/abs/2409.12191), Qwen2-VL, 2.1, figure 3).

    A word has its place on all axes. The word behind a picture goes on where its longer side ends, so that a picture of
    10 x 20 patches moves what follows by 20 places, not by 200. A picture begins at its token that has 0 on every axis.

    Args:
        head_dim: features of a head.
        sections: as for `SectionedRotary`: those of time, rows and columns.
        grids: the modalities whose tokens lie on these axes, by their numbers in the layout; all others are words.
        base: as for `Rotary`, like the next.
        scaling: how to read longer contexts than in training.

    Raises:
        ValueError: as for `SectionedRotary`; at first use, patches have another number of axes than there are sections,
            one stands before the beginning of its picture, or a cache has forgotten tokens.

    Example:
        >>> modality, zero = torch.tensor([0, 1, 1, 1, 0]), [0.0, 0.0, 0.0]
        >>> places = torch.tensor([zero, zero, [0.0, 0.0, 1.0], [0.0, 0.0, 2.0], zero])
        >>> layout = Layout(lengths=torch.tensor([5]), positions=places, modality=modality)
        >>> MultimodalRotary(head_dim=8, sections=[2, 1, 1]).coordinates(layout)[:, 2].tolist()
        [0, 1, 2, 3, 4]
    """

    def __init__(
        self,
        *,
        head_dim: Count,
        sections: Sequence[Count],
        grids: Sequence[Natural] = (1,),
        base: Positive = 10_000.0,
        scaling: Scaling | None = None,
    ) -> None:
        super().__init__(head_dim=head_dim, sections=sections, base=base, scaling=scaling)
        self.grids = tuple(grids)

    def coordinates(self, layout: Layout) -> Tensor:
        """Where all tokens of whole samples lie.

        Shapes:
            int64 `[tokens, sections]`.
        """
        patches, place = self._patches(layout)
        first = patches & (place == 0).all(1)
        picture = (first.cumsum(0) - 1).clamp(min=0)
        # One row for each picture, of which there are at most as many as tokens: nothing waits for their number.
        longer = torch.where(patches, place[:, 1:].amax(1) + 1, 0)  # time moves no word, as in the published models
        side = torch.zeros_like(picture).scatter_reduce(0, picture, longer, "amax")
        step = torch.where(first, side[picture], (~patches).long())
        start = step.cumsum(0) - step
        begin = torch.zeros_like(picture).scatter_reduce(0, picture, torch.where(first, start, 0), "amax")
        sample = start[layout.offsets[layout.sample]]
        return (torch.where(patches, begin[picture], start) - sample)[:, None] + place

    def _coordinates(self, layout: Layout, seen: Layout | None = None) -> Tensor:
        if seen is None:
            return self.coordinates(layout)
        own = torch.arange(seen.n_tokens, device=seen.device) - seen.offsets[seen.sample]
        if seen.places is not None and not torch.equal(seen.places, own):
            raise ValueError(
                f"of earlier tokens the cache holds {seen.lengths.tolist()} alone, and where words lie depends on the "
                "pictures before them; use cache='growing'"
            )
        return self.coordinates(seen)[seen.offsets[layout.sample] + layout.index]

    def _patches(self, layout: Layout) -> tuple[Tensor, Tensor]:
        """Which tokens lie on a grid, and where in their pictures; words are at 0."""
        n_tokens, n_axes, given = layout.n_tokens, len(self.sections), layout.positions
        nowhere = torch.zeros(n_tokens, n_axes, dtype=torch.long, device=layout.device)
        patches = nowhere[:, 0].bool()
        if layout.modality is not None:
            patches = torch.isin(layout.modality, torch.tensor(self.grids, device=layout.device))
        if given is None or given.shape[1] != n_axes:
            if not patches.is_meta and bool(patches.any()):
                n_given = 0 if given is None else given.shape[1]
                raise ValueError(
                    f"patches have {n_given} axes, sections={self.sections} need {n_axes}: time, row and column"
                )
            return patches, nowhere
        place = torch.where(patches[:, None], given.long(), nowhere)
        if layout.device is not None and torch.device(layout.device).type == "cpu":  # elsewhere the host would wait
            follows = patches.roll(1) & (layout.index > 0)
            lost = (patches & ~follows & (place != 0).any(1)).nonzero().flatten()
            if len(lost):
                raise ValueError(
                    f"token {int(lost[0])} is a patch whose picture begins nowhere: its first patch has 0 on every axis"
                )
        return patches, place
