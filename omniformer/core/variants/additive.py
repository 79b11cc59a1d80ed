"""Additive attention: a small network scores each pair of query and key."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.attention.plan import Plan
from omniformer.core.biases import Bias
from omniformer.core.variants.padded import PaddedBlock, masked_softmax


class AdditiveAttention(SelfAttention):
    """Multi-head self-attention with the scores `w tanh(q + k)` ([Bahdanau et al. 2014](https://arxiv.org/abs/1409.0473),
    appendix A.1.2, with the two linear maps of query and key that every attention layer has).

    Time and memory are `head_dim` times those of the matrix of weights. The scale is 1: `w` learns it.

    Args:
        d_model: width of the residual stream.
        n_heads: number of query heads.
        n_kv_heads: number of key and value heads; as many as query heads by default.
        bias: whether the projections have offsets.
        others: as for `SelfAttention`.

    Raises:
        ValueError: as for `SelfAttention`.

    Example:
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=8, n_layers=1, n_heads=2, attention=AdditiveAttention)
    """

    not_exported = "it lays out samples by the lengths at hand"

    def __init__(
        self, *, d_model: int, n_heads: int, n_kv_heads: int | None = None, bias: bool = True, **others: Any
    ) -> None:
        super().__init__(d_model=d_model, n_heads=n_heads, n_kv_heads=n_kv_heads, bias=bias, **others)
        self.weight = nn.Parameter(torch.empty(n_heads, self.head_dim))
        self._draw_weight()

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: Plan, bias: Bias | None) -> Tensor:
        """The values weighted by the network's scores."""
        block = PaddedBlock.of(plan)
        k, v = (block.keys(x.flatten(0, -3), self.n_heads) for x in (k, v))
        hidden = (block.queries(q)[..., :, None, :] + k[..., None, :, :]).tanh()
        scores = (hidden * self.weight.to(q.dtype)[:, None, None]).sum(-1) * (1.0 if self.scale is None else self.scale)
        if self.score is not None:
            scores = self.score(scores)
        weights = masked_softmax(scores + block.bias(self.biases(bias)), block.mask)
        return block.packed(F.dropout(weights, self.dropout, self.training) @ v)

    def reset_parameters(self, std: float, output_std: float) -> None:
        """Draws the weights: `std` for the maps in, `output_std` for the map back onto the residual stream."""
        super().reset_parameters(std, output_std)
        self._draw_weight()

    def _draw_weight(self) -> None:
        # Unit variance of the scores of unit-variance hidden features.
        nn.init.normal_(self.weight, std=self.head_dim**-0.5)
