"""Linformer: keys and values of a sample squeezed into a few, before ordinary attention reads them."""

from typing import Any

import torch
from einops import einsum
from torch import Tensor, nn

from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.attention.plan import Plan, lower
from omniformer.core.biases import Bias
from omniformer.core.chunks import Chunks, chunks_of
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count
from omniformer.core.recurrence import refuse
from omniformer.core.rules import Full

_SIZE = 64


class LinformerAttention(SelfAttention):
    """Low-rank attention ([Wang et al. 2020](https://arxiv.org/abs/2006.04768)).

    `softmax(q (E^T k)^T / sqrt(head_dim)) (F^T v)`, E and F learned `[max_seq_len, rank]`: time and memory are linear
    in each sample's length. The paper takes samples of one length; here a sample of n tokens uses the first n rows of E
    and F and the first `min(rank, n)` columns, so short samples have no slots without tokens, and with E = F = identity
    attention is exact. E and F are shared by the heads, the paper's "headwise sharing". Slots mix tokens of all places,
    so there is no causal form. Rotary positions turn the keys before they are squeezed.

    Args:
        max_seq_len: tokens of the longest sample.
        rank: slots that the keys and values of a sample are squeezed into; 256 as in the paper.
        **heads: those of `MultiHead`, apart from `pair_bias`: slots are no tokens that a bias could tell apart.

    Raises:
        ValueError: `rank` is not between 1 and `max_seq_len`; at first use, the rule is not `Full()`, there is a bias
            or a cache, or a sample is longer than `max_seq_len`.

    Example:
        >>> from functools import partial
        >>> from omniformer.core.transformer import Transformer
        >>> attention = partial(LinformerAttention, max_seq_len=8, rank=2)
        >>> core = Transformer(d_model=16, n_layers=1, n_heads=2, attention=attention)
        >>> core(torch.randn(5, 16), Layout.from_lengths(2, 3)).shape
        torch.Size([5, 16])
    """

    not_exported = "it chunks, hashes or sums tokens by the lengths at hand"

    def __init__(self, *, max_seq_len: Count, rank: Count = 256, **heads: Any) -> None:
        super().__init__(**heads, pair_bias=None)
        if not 1 <= rank <= max_seq_len:
            raise ValueError(f"rank={rank} must be between 1 and max_seq_len={max_seq_len}")
        self.squeeze_k = nn.Parameter(torch.empty(max_seq_len, rank))
        self.squeeze_v = nn.Parameter(torch.empty(max_seq_len, rank))
        self._draw_squeeze()

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: Plan, bias: Bias | None) -> Tensor:
        refuse("Linformer attention", plan, bias=bias)
        if not isinstance(plan.rule, Full):
            raise ValueError(f"Linformer attention can do Full() only: its slots mix all tokens; received {plan.rule}")
        layout = plan.layout
        max_seq_len, rank = self.squeeze_k.shape
        if layout.n_samples and int(layout.lengths.max()) > max_seq_len:
            raise ValueError(
                f"a sample has {int(layout.lengths.max())} tokens, Linformer attention max_seq_len={max_seq_len}"
            )
        chunks = chunks_of(layout, _SIZE)
        slots = layout.memo(f"linformer {rank}", lambda: _plan(layout, rank))
        k, v = (_squeeze(x, squeeze, chunks, slots) for x, squeeze in ((k, self.squeeze_k), (v, self.squeeze_v)))
        return super().attend(q, k, v, slots, None)

    @property
    def cached_per_token(self) -> int:
        return 0  # it cannot decode

    def draw_weights(self, std: float, output_std: float) -> None:
        super().draw_weights(std, output_std)
        self._draw_squeeze()

    def _draw_squeeze(self) -> None:
        # Variance 1 / rank, as the paper's proof by random projections takes it.
        for squeeze in (self.squeeze_k, self.squeeze_v):
            nn.init.normal_(squeeze, std=squeeze.shape[1] ** -0.5)


def _plan(layout: Layout, rank: int) -> Plan:
    """Every token of a sample may attend to every slot of the sample."""
    return lower(Full(), layout, Layout(lengths=layout.lengths.clamp(max=rank), device=layout.device))


def _squeeze(packed: Tensor, squeeze: Tensor, chunks: Chunks, plan: Plan) -> Tensor:
    """Weighted sums over the tokens of each sample, one for each slot.

    Shapes:
        packed `[tokens, heads, head_dim]`, squeeze `[max_seq_len, rank]` → `[slots of all samples, heads, head_dim]`.
    """
    start = plan.layout.offsets[:-1][chunks.sample]
    weights = squeeze.to(packed.dtype)[chunks.token - start[:, None]]
    parts = einsum(weights, chunks.rows(packed), "rows size rank, rows size heads head_dim -> rows rank heads head_dim")
    slots = plan.key_layout.view()
    return chunks.sum_by_sample(parts)[slots.sample, slots.index]
