"""Attention whose additive scores each query opens or shuts by what it says."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from omniformer.core.attention.multihead import Context, SelfAttention
from omniformer.core.biases import Bias
from omniformer.core.init import linear_
from omniformer.core.layout import View


class GatedPositionAttention(SelfAttention):
    """Self-attention with the gated relative positions of WavLM ([Chen et al. 2021](https://arxiv.org/abs/2110.13900),
    3.1; [Chi et al. 2021](https://arxiv.org/abs/2106.16138), XLM-E): what `pair_bias` of the stack says of a pair is
    multiplied by a number that each head computes of its own part of the query's token.

    The number is `2 + a (b s - 1)`: a and b are gates between 0 and 1, s is a learned number of the head, at first 1.
    A stack without `pair_bias` has nothing to gate.

    Args:
        **heads: those of `MultiHead`, apart from `pair_bias`: the scores belong to the stack.

    Raises:
        ValueError: `n_heads` does not divide `d_model`; when called, the stack has no `pair_bias`.

    Example:
        >>> from functools import partial
        >>> from omniformer.core.biases import T5Buckets
        >>> from omniformer.core.layout import Layout
        >>> from omniformer.core.transformer import Transformer
        >>> parts = {"attention": GatedPositionAttention, "pair_bias": partial(T5Buckets, n_buckets=8, max_distance=16)}
        >>> Transformer(d_model=8, n_layers=2, n_heads=2, **parts)(torch.randn(3, 8), Layout.from_lengths(3)).shape
        torch.Size([3, 8])
    """

    def __init__(self, **heads: Any) -> None:
        super().__init__(**heads, pair_bias=None)
        if self.d_model % self.n_heads:
            raise ValueError(
                f"n_heads={self.n_heads} does not divide d_model={self.d_model}, of which each gates a part"
            )
        # Four numbers of each gate, which are added up: so it was published.
        self.gates = nn.Linear(self.d_model // self.n_heads, 8)
        self.strength = nn.Parameter(torch.ones(self.n_heads))

    def collect(self, x: Tensor, context: Context) -> Tensor:
        """What the heads of each token collect, `[tokens, heads, head_dim]`."""
        if context.bias is None:
            raise ValueError("gated positions need a pair_bias of the stack, such as T5Buckets")
        bias: Any = _Gated(context.bias, self.gate(x))
        return super().collect(x, replace(context, bias=bias))

    def gate(self, x: Tensor) -> Tensor:
        """The factor of each head for each query.

        Shapes:
            `[tokens, d_model]` → `[heads, tokens]`.
        """
        tokens = len(x)
        a, b = (
            self.gates(x.view(tokens, self.n_heads, -1)).view(tokens, self.n_heads, 2, 4).sum(-1).sigmoid().unbind(-1)
        )
        return (a * (b * self.strength - 1) + 2).T

    def draw_weights(self, std: float, output_std: float) -> None:
        super().draw_weights(std, output_std)
        linear_(self.gates, std)
        nn.init.ones_(self.strength)


class _Gated:
    """A bias, each query's row of it times a factor."""

    def __init__(self, bias: Bias, factors: Tensor) -> None:
        self.bias, self.factors = bias, factors

    def __call__(self, query: View, key: View) -> Tensor:
        return self.factors[:, query.token] * self.bias(query, key)
