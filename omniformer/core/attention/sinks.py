"""Attention that need not attend: a learned score for each head takes weight away from the keys."""

from typing import Any

import torch
from torch import nn

from omniformer.core.attention.multihead import SelfAttention


class SinkAttention(SelfAttention):
    """Self-attention whose softmax runs over the keys and one learned number a head, whose weight goes nowhere
    ([OpenAI 2025](https://arxiv.org/abs/2508.10925), gpt-oss, 2.2; [Miller
    2023](https://www.evanmiller.org/attention-is-off-by-one.html) fixes it at zero).

    The number begins at zero. Unlike the rule `Sinks`, which lets everybody read the first tokens, it costs no key.

    Args:
        **heads: those of `MultiHead`, all of them.

    Example:
        >>> from omniformer.core.layout import Layout
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=8, n_layers=1, n_heads=2, attention=SinkAttention)
        >>> core(torch.randn(3, 8), Layout.from_lengths(3)).shape
        torch.Size([3, 8])
    """

    def __init__(self, **heads: Any) -> None:
        super().__init__(**heads)
        self.sink = nn.Parameter(torch.zeros(self.n_heads))

    def draw_weights(self, std: float, output_std: float) -> None:
        super().draw_weights(std, output_std)
        nn.init.zeros_(self.sink)  # pyright: ignore[reportArgumentType]
