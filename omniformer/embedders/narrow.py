"""Ids whose table is narrower than the core."""

from typing import Any

from omniformer_tokenizers import Packed
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.init import linear_
from omniformer.core.ranges import Count
from omniformer.embedders.ids import IdEmbedder


class NarrowIdEmbedder(IdEmbedder):
    """An `IdEmbedder` of fewer features than the core, and a linear map to its width
    ([Lan et al. 2019](https://arxiv.org/abs/1909.11942), ALBERT, 3.1): a large vocabulary then costs little.

    Args:
        d_model: width of the core.
        d_table: width of the table, of positions, segments and norm.
        **options: others of `IdEmbedder`.

    Shapes:
        values int64 `[tokens]` → `[tokens, d_model]`.

    Example:
        >>> embedder = NarrowIdEmbedder(d_model=8, d_table=2, vocab_size=100)
        >>> sum(each.numel() for each in embedder.parameters())
        224
    """

    def __init__(self, *, d_model: Count, d_table: Count, **options: Any) -> None:
        checks.counts(d_model=d_model, d_table=d_table)
        super().__init__(d_model=d_table, **options)
        self.map = nn.Linear(d_table, d_model)
        linear_(self.map, self.init_std)

    def forward(self, packed: Packed) -> Tensor:
        """The vectors of all tokens, mapped to the core's width."""
        return self.map(super().forward(packed))
