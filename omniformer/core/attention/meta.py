"""Attention on the meta device, where tensors have shapes and no values: for sizing a model before it exists."""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from omniformer.core.attention.kernel import Kernel, Weighing
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count
from omniformer.core.rules import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One use of attention, as `listener` hears of it."""

    rule: Rule
    layout: Layout
    key_layout: Layout
    n_heads: Count
    head_dim: Count
    value_dim: int
    itemsize: int


listener: ContextVar[Callable[[Call], None] | None] = ContextVar("listener", default=None)
"""Who is told of every use of attention on the meta device."""


class Meta(Kernel):
    """Attention without arithmetic.

    The result has the right shape, and what a fused kernel keeps for its backward pass is kept. Biases and scores are
    not looked at.
    """

    name = "meta"

    def __init__(self, rule: Rule, layout: Layout, key_layout: Layout) -> None:
        self.rule, self.layout, self.key_layout = rule, layout, key_layout

    def attend(self, q: Tensor, k: Tensor, v: Tensor, how: Weighing) -> Tensor:
        if (hear := listener.get()) is not None:
            hear(
                Call(
                    rule=self.rule,
                    layout=self.layout,
                    key_layout=self.key_layout,
                    n_heads=q.shape[1],
                    head_dim=q.shape[2],
                    value_dim=v.shape[-1],
                    itemsize=q.element_size(),
                )
            )
        return _Shape.apply(q, k, v)  # pyright: ignore[reportReturnType]

    def lse(self, q: Tensor, k: Tensor, how: Weighing) -> Tensor:
        # Nobody is told: a fused kernel has it at hand.
        return q.sum(-1, dtype=torch.float32)


class _Shape(torch.autograd.Function):
    """Keeps what flash attention does ([Dao 2023](https://arxiv.org/abs/2307.08691), algorithm 1).

    Queries, keys, values, the result, and one number for each query and head.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = q.new_empty(*q.shape[:2], v.shape[-1])
        ctx.save_for_backward(q, k, v, out, torch.empty(q.shape[:2], dtype=torch.float32, device=q.device))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        q, k, v, _, _ = ctx.saved_tensors
        return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
