"""A stack whose layers read how far tokens are from each other from one table of vectors."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from omniformer.core.attention.disentangled import DisentangledAttention
from omniformer.core.attention.multihead import Context
from omniformer.core.block import Factory
from omniformer.core.distances import DistanceVectors
from omniformer.core.transformer import Transformer


class DisentangledTransformer(Transformer):
    """A `Transformer` with one table of vectors of distances for all layers
    ([He et al. 2020](https://arxiv.org/abs/2006.03654), DeBERTa, 3.1), which `DisentangledAttention` reads.

    Args:
        distances: makes the table, called with `d_model`.
        attention: makes the attention of a block, as for `Transformer`.
        **options: others of `Transformer`.

    Example:
        >>> import torch
        >>> from omniformer.core.layout import Layout
        >>> core = DisentangledTransformer(d_model=8, n_layers=2, n_heads=2)
        >>> core(torch.randn(5, 8), Layout.from_lengths(2, 3)).shape
        torch.Size([5, 8])
    """

    def __init__(
        self,
        *,
        distances: Callable[..., nn.Module] = DistanceVectors,
        attention: Factory = DisentangledAttention,
        **options: Any,
    ) -> None:
        super().__init__(attention=attention, **options)
        self.distances = distances(d_model=self.d_model)

    def through(self, x: Tensor, contexts: list[Context], stages: dict[str, Tensor] | None) -> Tensor:
        """Passes the tokens through all blocks, which share the vectors of this pass."""
        plan = contexts[0].plan
        vectors = self.distances(plan.layout, plan.key_layout)
        return super().through(x, [replace(context, distances=vectors) for context in contexts], stages)
