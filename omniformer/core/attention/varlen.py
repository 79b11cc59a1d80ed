"""Attention by PyTorch's fused kernel for ragged batches on CUDA, for plain windows in half precision."""

from functools import cached_property

import torch
from torch import Tensor

from omniformer.core.attention.banded import Banded
from omniformer.core.attention.blocks import Blocks
from omniformer.core.attention.dense import Dense
from omniformer.core.attention.kernel import Kernel, Weighing
from omniformer.core.layout import Layout
from omniformer.core.rules import UNBOUNDED, Rule


class Varlen(Kernel):
    """Packed samples without any padding or mask, by `torch.nn.attention.varlen`
    ([Dao 2023](https://arxiv.org/abs/2307.08691)).

    For `Full`, `Causal`, `Window` and what `&` makes of them. What the fused kernel does not know runs by `Banded` or
    `Dense` instead: biases, scores, dropout, values of another width than keys, and dtypes other than float16 and
    bfloat16.

    Raises:
        ValueError: the rule is no plain window, the tokens do not lie where the kernel supposes them, or the device is
            not a CUDA device.
    """

    name = "varlen"

    def __init__(self, rule: Rule, layout: Layout, key_layout: Layout) -> None:
        if layout.offsets.device.type != "cuda":
            raise ValueError(f"kernel 'varlen' runs on CUDA only; the layout lies on {str(layout.device)!r}")
        window = window_of(rule, layout, key_layout)
        if window is None:
            raise ValueError(f"kernel 'varlen' needs Full, Causal or Window over whole samples; received {rule}")
        self.rule, self.layout, self.key_layout, self.window = rule, layout, key_layout, window
        self.offsets, self.key_offsets = layout.offsets.int(), key_layout.offsets.int()

    def attend(self, q: Tensor, k: Tensor, v: Tensor, how: Weighing) -> Tensor:
        plain = how.bias is None and how.score is None and how.dropout == 0.0 and q.shape[-1] == v.shape[-1]
        if not plain or q.dtype not in (torch.float16, torch.bfloat16) or not len(q):
            return self._plain.attend(q, k, v, how)
        from torch.nn.attention.varlen import varlen_attn

        return varlen_attn(  # pyright: ignore[reportReturnType]
            q,
            k,
            v,
            self.offsets,
            self.key_offsets,
            int(self.layout.lengths.max()),
            int(self.key_layout.lengths.max()),
            scale=how.scale,
            window_size=self.window,
            enable_gqa=q.shape[1] != k.shape[1],
        )

    def lse(self, q: Tensor, k: Tensor, how: Weighing) -> Tensor:
        return self._plain.lse(q, k, how)

    @cached_property
    def _plain(self) -> Blocks:
        kernel = Banded if self.rule.reach().bounded else Dense
        return kernel(self.rule, self.layout, self.key_layout)


def window_of(rule: Rule, layout: Layout, key_layout: Layout) -> tuple[int, int] | None:
    """The rule as the window that the fused kernel understands, −1 for an unbounded side; None if it is none.

    The kernel lets the last query of a sample stand at its last key, so the tokens must lie like that; and every sample
    with queries must have keys, for what the kernel writes otherwise is not defined.
    """
    band = rule.band()
    ragged = bool(((key_layout.lengths == 0) & (layout.lengths > 0)).any())
    if band is None or ragged or layout.places is not None or key_layout.places is not None:
        return None
    bounded = band.left < UNBOUNDED or band.right < UNBOUNDED
    if bounded and not torch.equal(_last(layout), _last(key_layout)):
        return None
    return tuple(side if side < UNBOUNDED else -1 for side in (band.left, band.right))  # pyright: ignore[reportReturnType]


def _last(layout: Layout) -> Tensor:
    """Index after each sample's last token."""
    return layout.lengths if layout.start is None else layout.lengths + layout.start.cpu()
