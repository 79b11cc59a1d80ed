"""Weights that lie column after column: what is fastest where few tokens are mapped at a time, as in writing."""

import torch
from torch import nn

# From so many times as many outputs as inputs on; docs/benchmarks.md has the times.
_WIDENS = 2
# Smaller weights stay in the processor's caches, where both ways are as fast.
_LEAST = 1 << 14


@torch.no_grad()
def by_columns(model: nn.Module) -> int:
    """Lays the weights of linear maps that widen their input column after column in memory, in place.

    MKL multiplies one row by such a float32 weight in half to two thirds of the time, many rows in the same. Shapes,
    names and values stay what they are, `is_contiguous()` becomes False, and products may differ in their last bit. It
    is for a model that only writes, as the commands `generate`, `chat` and `serve` load it; safetensors refuses to save
    one that is laid so.

    Args:
        model: changed in place. What is not on a CPU, not float32 or no `torch.nn.Linear` stays as it is.

    Returns:
        How many weights were laid anew.

    Example:
        >>> model = nn.Linear(128, 512)
        >>> by_columns(model), model.weight.stride()
        (1, (1, 512))
    """
    weights = {id(each.weight): each.weight for each in model.modules() if type(each) is nn.Linear}
    taken = [each for each in weights.values() if _gains(each)]
    for weight in taken:
        weight.data = weight.data.t().contiguous().t()
    return len(taken)


def _gains(weight: torch.Tensor) -> bool:
    rows, columns = weight.shape
    here = weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.is_contiguous()
    return here and rows >= _WIDENS * columns and weight.numel() >= _LEAST
