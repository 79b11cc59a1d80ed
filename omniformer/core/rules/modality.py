"""Rules between modalities: who may read whom."""

from dataclasses import dataclass

import torch
from torch import Tensor

from omniformer.core.layout import View
from omniformer.core.rules.base import Rule


@dataclass(frozen=True)
class Modalities(Rule):
    """A table of permissions between modalities: tokens of modality i read those of the modalities in `reads[i]`.

    Combined with other rules it makes, for example, text that reads images while images read only each other
    ([Tsimpoukelis et al. 2021](https://arxiv.org/abs/2106.13884) keep the image a prefix in this way).

    Args:
        reads: for each modality, by its number in the layout, the numbers of those it may read.

    Raises:
        ValueError: a number in the table is not one of its rows; or, at first use, the layout states no modality, or
            one that the table has no row for.

    Example:
        >>> from omniformer.core.layout import Layout
        >>> layout = Layout(lengths=torch.tensor([3]), modality=torch.tensor([0, 1, 1]))
        >>> print(Modalities([[0], [0, 1]]).draw(layout))
        ■ · ·
        ■ ■ ■
        ■ ■ ■
    """

    not_exported = "it looks up which modalities are there"

    reads: list[list[int]]

    def __post_init__(self) -> None:
        # As tuples, so that the rule stays what it was when built, and can be hashed.
        object.__setattr__(self, "reads", tuple(tuple(row) for row in self.reads))
        n = len(self.reads)
        for i, row in enumerate(self.reads):
            unknown = [number for number in row if not 0 <= number < n]
            if unknown:
                raise ValueError(f"reads[{i}] names modality {unknown[0]}; the table has rows 0 to {n - 1} only")

    def attend(self, query: View, key: View) -> Tensor:
        self._check(query)
        self._check(key)
        # Compared number by number: a table would be a tensor of this rule's inside what a compiler makes of it, and
        # compiled kernels are reused for other tables of the same size.
        allowed = torch.zeros((), dtype=torch.bool, device=query.token.device)
        for number, row in enumerate(self.reads):
            for read in row:
                allowed = allowed | ((query.modality == number) & (key.modality == read))
        return allowed

    def hides(self) -> bool:
        return any(len(set(row)) < len(self.reads) for row in self.reads)

    def _check(self, view: View) -> None:
        if view.layout.modality is None or not view.layout.n_tokens:
            return  # reading view.modality says what is missing
        modality = view.layout.modality
        most = view.layout.memo("most modality", lambda: int(modality.max()))
        if most >= len(self.reads):
            raise ValueError(
                f"the layout has tokens of modality {most}; the table reads has only {len(self.reads)} rows"
            )
