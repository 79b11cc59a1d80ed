"""Attention over the rows of padded batches, in one piece and by operations that depend on no data."""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from omniformer.core.attention.kernel import Kernel, Weighing
from omniformer.core.attention.reference import dense_attention, dense_lse
from omniformer.core.biases import Bias
from omniformer.core.layout import Layout, View
from omniformer.core.padded import PaddedLayout
from omniformer.core.rules import Rule


class PaddedRows(Kernel):
    """Every pair of places of a row, those of padding and those that the rule forbids masked.

    Every bias and score. A query that may attend to nothing yields zero, as in every kernel; so does padding that sees
    no token.

    Raises:
        ValueError: the layouts are none of padded rows, or the rule cannot be followed there.
    """

    name = "padded"
    takes_rows = True

    def __init__(self, rule: Rule, layout: Layout, key_layout: Layout) -> None:
        if not isinstance(layout, PaddedLayout) or not isinstance(key_layout, PaddedLayout):
            raise ValueError("kernel 'padded' reads padded rows only; give PaddedLayout, or let a kernel be chosen")
        if (why := rule.refusal()) is not None:
            raise ValueError(why)
        self.queries, self.keys = layout.valid.shape, key_layout.valid.shape
        self.query, self.key = _view(layout)[:, :, None], _view(key_layout)[:, None, :]
        self.mask = (rule.attend(self.query, self.key) & key_layout.valid[:, None, :])[:, None]
        # Layers that share a bias share its numbers. The bias is kept too, so that its id stays its own.
        self._known: dict[int, tuple[Any, Tensor]] = {}

    def attend(self, q: Tensor, k: Tensor, v: Tensor, how: Weighing) -> Tensor:
        added, score = self._bias(how.bias), how.score
        q, k, v = _split(q, self.queries), _split(k, self.keys), _split(v, self.keys)
        if score is not None:
            options = {"scale": how.scale, "score": score, "dropout": how.dropout}
            out = dense_attention(q, k, v, mask=self.mask, bias=added, **options)
        else:
            out = self._fused(q, k, v, scale=how.scale, bias=added, dropout=how.dropout)
        return rearrange(out, "samples heads queries head_dim -> (samples queries) heads head_dim")

    def lse(self, q: Tensor, k: Tensor, how: Weighing) -> Tensor:
        q, k = _split(q, self.queries), _split(k, self.keys)
        lse = dense_lse(q, k, scale=how.scale, mask=self.mask, bias=self._bias(how.bias), score=how.score)
        return rearrange(lse, "samples heads queries -> (samples queries) heads")

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, *, scale: float, bias: Tensor | None, dropout: float) -> Tensor:
        group = q.shape[1] // k.shape[1]
        if group > 1:
            k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        # The least finite number, not minus infinity: a softmax over nothing must not be NaN, which masks cannot undo.
        least = torch.finfo(q.dtype).min
        added = torch.where(self.mask, q.new_zeros(()) if bias is None else bias.to(q.dtype), least)
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=added, scale=scale, dropout_p=dropout)
        return out * self.mask.any(-1, keepdim=True).to(out.dtype)

    def _bias(self, bias: Bias | None) -> Tensor | None:
        """The additive scores of all pairs, `[samples, heads, queries, keys]`."""
        if bias is None:
            return None
        if id(bias) not in self._known:
            pairs = bias(self.query, self.key)
            self._known[id(bias)] = (bias, rearrange(pairs, "heads samples queries keys -> samples heads queries keys"))
        return self._known[id(bias)][1]


def _view(layout: PaddedLayout) -> View:
    """All places, as rows."""
    return layout.view(torch.arange(layout.n_tokens, device=layout.device).view(layout.valid.shape))


def _split(x: Tensor, shape: torch.Size) -> Tensor:
    """Packed tokens, or the rows of a cache, as `[samples, heads, seq, head_dim]`."""
    x = x.unflatten(0, shape) if x.ndim == 3 else x
    return rearrange(x, "samples seq heads head_dim -> samples heads seq head_dim")
