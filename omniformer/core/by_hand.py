"""When a backward pass that is written by hand takes the place of the one that autograd derives."""

import torch
from torch import Tensor


def by_hand(*tensors: Tensor) -> bool:
    """Whether gradients of plain tensors on a CPU are wanted: CUDA, compilers and transforms of functions have their
    own ways. On the meta device nothing is computed, and what is kept is counted as all keep it.

    Example:
        >>> by_hand(torch.zeros(2)), by_hand(torch.zeros(2, requires_grad=True))
        (False, True)
    """
    if not torch.is_grad_enabled() or not any(each.requires_grad for each in tensors):
        return False
    return tensors[0].device.type in ("cpu", "meta") and not torch.compiler.is_compiling() and not _transformed()


def _transformed() -> bool:
    """Whether `torch.func` is at work, as PyTorch itself asks."""
    return torch._C._are_functorch_transforms_active()  # pyright: ignore[reportAttributeAccessIssue]
