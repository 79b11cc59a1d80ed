"""Linear maps of few rows at a time, as in writing: products in pieces, which MKL computes several times as fast."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Up to so many rows the weight stands on the left of the product; docs/benchmarks.md has the times.
_FEWEST = 6
# Up to so many, pieces are worth their copy where threads share them.
_FEW = 64
# Smaller weights stay in the processor's caches, where all ways are as fast, and smaller pieces gain nothing.
_LEAST = 1 << 14
_LEAST_PIECE = 64


class FewRowsLinear(nn.Linear):
    """A linear map that multiplies few rows by pieces of its weight, side by side; `for_few_rows` makes it of an
    ordinary one.

    MKL gives a product of few rows to one thread, and to a kernel for large ones; a batched product goes to all
    threads and to a kernel for small ones. Many rows, other devices and types than float32 on a CPU, and whatever asks
    for gradients are mapped as ever.

    Shapes:
        `[..., in_features]` → `[..., out_features]`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The map."""
        weight, bias = self.weight, self.bias
        pieces = _pieces(x, weight)
        if not pieces:
            return F.linear(x, weight, bias)
        rows = x if x.ndim == 2 else x.reshape(-1, self.in_features)
        rest = self.out_features % pieces
        if rest:  # the last outputs by themselves
            whole = self.out_features - rest
            first, last = (None, None) if bias is None else bias.split([whole, rest])
            cut = _product(rows, weight[:whole], first, pieces)
            out = torch.cat([cut, F.linear(rows, weight[whole:], last)], dim=1)
        else:
            out = _product(rows, weight, bias, pieces)
        return out if x.ndim == 2 else out.reshape(*x.shape[:-1], self.out_features)


def for_few_rows(model: nn.Module) -> int:
    """Makes the linear maps of a model, in place, such as are fast for few rows.

    Names, values, ties and hooks stay, and products may differ in their last bit. It is for a model that writes, as the
    commands `generate`, `chat` and `serve` load it.

    Args:
        model: changed in place. What is not on a CPU, not float32 or no `torch.nn.Linear` stays as it is.

    Returns:
        How many maps were changed.

    Example:
        >>> model = nn.Linear(128, 512)
        >>> for_few_rows(model), type(model).__name__
        (1, 'FewRowsLinear')
    """
    taken = [each for each in model.modules() if type(each) is nn.Linear and _gains(each.weight)]
    for each in taken:
        each.__class__ = FewRowsLinear  # in its place, so that hooks and adapters stay
    return len(taken)


def _gains(weight: Tensor) -> bool:
    fits = weight.is_cpu and weight.dtype == torch.float32 and weight.is_contiguous()
    return fits and weight.numel() >= _LEAST and weight.shape[0] >= 2 * _LEAST_PIECE


def _pieces(x: Tensor, weight: Tensor) -> int:
    """How many pieces of the weight are multiplied side by side; 0 where it is not cut."""
    n_rows, threads = x.numel() // weight.shape[1], torch.get_num_threads()
    if not 0 < n_rows <= (_FEW if threads > 1 else _FEWEST) or torch.is_grad_enabled():
        return 0
    if x.dtype != torch.float32 or not _gains(weight) or not torch.backends.mkl.is_available():
        return 0
    return min(max(threads, 2), weight.shape[0] // _LEAST_PIECE)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, pieces: int) -> Tensor:
    """`x` times the transposed weight, `[rows, in_features]` → `[rows, out_features]`, plus the bias."""
    n_rows, width = x.shape
    cut = weight.view(pieces, -1, width)
    if n_rows <= _FEWEST:
        columns = x.t().expand(pieces, width, n_rows)
        out = torch.bmm(cut, columns) if bias is None else torch.baddbmm(bias.view(pieces, -1, 1), cut, columns)
        return out.view(-1, n_rows).t()
    rows, cut = x.expand(pieces, n_rows, width), cut.transpose(1, 2)
    out = torch.bmm(rows, cut) if bias is None else torch.baddbmm(bias.view(pieces, 1, -1), rows, cut)
    return out.transpose(0, 1).reshape(n_rows, -1)
