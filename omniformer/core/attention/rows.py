"""Gathering rows of tokens, with a backward pass that sums in a fixed order."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


class Gather:
    """`x[index]` for the rows of a packed tensor; a negative index gives a row of zeros.

    The order of the backward sums is prepared once: gradients are then the same bit for bit from run to run on every
    device, where PyTorch's own scatter on CUDA is not.

    Args:
        index: the rows wanted.
        n_rows: how many rows the packed tensor has.

    Shapes:
        index int64 `[gathered]`.

    Example:
        >>> Gather(torch.tensor([1, -1, 1]), 2)(torch.tensor([[3.0], [4.0]])).flatten().tolist()
        [4.0, 0.0, 4.0]
    """

    def __init__(self, index: Tensor, n_rows: int) -> None:
        self.index = index.clamp(min=0) if n_rows else index[:0]
        self.n_rows, self.n_gathered = n_rows, len(index)
        missing = index < 0
        self.missing = missing if bool(missing.any()) else None
        # Stable, so that the sums over a row run in the order of `index`; rows without a source, which come first, are
        # summed nowhere.
        self.order = torch.argsort(index, stable=True)[int(missing.sum()) :]
        counts = torch.bincount(index[~missing], minlength=n_rows)
        self.ends = torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    def __call__(self, x: Tensor) -> Tensor:
        """Gathers rows.

        Shapes:
            `[n_rows, ...]` → `[gathered, ...]`.
        """
        return _GatherRows.apply(x, self)  # pyright: ignore[reportReturnType]


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gather: Gather) -> Tensor:
        ctx.gather = gather
        if not gather.n_rows:
            return x.new_zeros(gather.n_gathered, *x.shape[1:])
        rows = x.index_select(0, gather.index)
        return rows if gather.missing is None else rows.masked_fill_(_as(gather.missing, rows), 0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        gather: Gather = ctx.gather
        if not len(gather.order):
            return grad.new_zeros(gather.n_rows, *grad.shape[1:]), None
        table = grad.contiguous().view(len(grad), -1)
        sums = functional.embedding_bag(gather.order, table, gather.ends, mode="sum", include_last_offset=True)
        return sums.view(gather.n_rows, *grad.shape[1:]), None


def _as(mask: Tensor, rows: Tensor) -> Tensor:
    return mask.view(-1, *[1] * (rows.ndim - 1))
