"""Attention whose keys have no offset: softmax would not see it, since it adds the same to all scores of a query."""

from typing import Any

import torch
from torch import Tensor, nn

from omniformer.core.attention.cross import CrossAttention
from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.ranges import Natural


class PartlyOffset(nn.Linear):
    """A linear map that adds offsets to some of its outputs only.

    Args:
        in_features: numbers in.
        out_features: numbers out.
        first: the first output without offset.
        n: how many outputs from there on have none.

    Example:
        >>> PartlyOffset(2, 6, first=2, n=2).bias.shape
        torch.Size([4])
    """

    def __init__(self, in_features: int, out_features: int, *, first: Natural, n: int) -> None:
        super().__init__(in_features, out_features)
        self.first, self.n = first, n
        self.bias = nn.Parameter(self.bias.detach()[: out_features - n].clone())

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[..., in_features]` to `[..., out_features]`."""
        none = self.bias.new_zeros(self.n)
        offset = torch.cat([self.bias[: self.first], none, self.bias[self.first :]])
        return nn.functional.linear(x, self.weight, offset)


class SelfAttentionWithoutKeyOffset(SelfAttention):
    """Self-attention as in Whisper ([Radford et al. 2022](https://arxiv.org/abs/2212.04356)).

    Args:
        **options: those of `SelfAttention`, apart from `bias`: queries and values always have offsets.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, bias=True)
        keys = self.n_kv_heads * self.head_dim
        self.qkv = PartlyOffset(self.qkv.in_features, self.qkv.out_features, first=self.n_heads * self.head_dim, n=keys)


class CrossAttentionWithoutKeyOffset(CrossAttention):
    """Cross-attention as in Whisper ([Radford et al. 2022](https://arxiv.org/abs/2212.04356)).

    Args:
        **options: those of `CrossAttention`, apart from `bias`: queries and values always have offsets.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, bias=True)
        self.kv = PartlyOffset(self.kv.in_features, self.kv.out_features, first=0, n=self.n_kv_heads * self.head_dim)
