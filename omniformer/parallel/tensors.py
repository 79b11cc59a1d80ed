"""Tensors that processes hold in pieces (`DTensor`), beside ordinary ones: what is own, what is whole, what is like."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset


def own(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, as the same memory: all of an ordinary one.

    Example:
        >>> own(torch.arange(3)).tolist()
        [0, 1, 2]
    """
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; all processes that hold a piece must ask.

    Example:
        >>> whole(torch.arange(3)).tolist()
        [0, 1, 2]
    """
    if not isinstance(tensor, DTensor):
        return tensor
    for i in range(tensor.device_mesh.ndim - 1):  # one axis of processes after the other, as torch warns of several
        placements = [Replicate()] * (i + 1) + list(tensor.placements[i + 1 :])
        tensor = tensor.redistribute(placements=placements)
    return tensor.full_tensor()


def like(value: Tensor, held: Tensor) -> Tensor:
    """A value in pieces as another tensor is; all processes must ask, and give the same value.

    Args:
        value: whole, or in other pieces.
        held: of the same shape, such as the parameter that takes the value.

    Example:
        >>> like(torch.ones(2), torch.zeros(2)).tolist()
        [1.0, 1.0]
    """
    if not isinstance(held, DTensor):
        return whole(value)
    mesh, placements = held.device_mesh, held.placements
    if isinstance(value, DTensor) and value.device_mesh == mesh and value.placements == placements:
        return value
    value = whole(value)
    sizes, offsets = compute_local_shape_and_global_offset(value.shape, mesh, placements)
    cut = tuple(slice(first, first + size) for first, size in zip(offsets, sizes, strict=True))
    mine = torch.empty_like(held, dtype=value.dtype, requires_grad=False)  # beside it, be that on the host
    own(mine).copy_(value[cut])
    return mine


def mesh_of(tensor: Tensor) -> DeviceMesh | None:
    """The processes between which a tensor is divided; None where it is not."""
    return tensor.device_mesh if isinstance(tensor, DTensor) else None


def marks(tensors: Iterable[Tensor]) -> tuple[tuple[int, int], ...]:
    """By which the very same tensors are known again, as long as nobody has written into one of them.

    Example:
        >>> held = torch.zeros(2)
        >>> before = marks([held])
        >>> _ = held.add_(1)
        >>> marks([held]) == before
        False
    """
    return tuple((id(each), own(each)._version) for each in tensors)


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """The Euclidean norm of all numbers of some tensors, the same on every process; ordinary ones count once.

    Example:
        >>> norm([torch.tensor([3.0]), torch.tensor([4.0])]).item()
        5.0
    """
    tensors = list(tensors)
    pieces = [each for each in tensors if isinstance(each, DTensor)]
    if not pieces:
        return torch.nn.utils.get_total_norm(tensors)
    ordinary = [each for each in tensors if not isinstance(each, DTensor)]
    groups: dict[Any, list[Tensor]] = {}
    for each in pieces:  # what is divided in one way is added up before anything is sent
        groups.setdefault((each.device_mesh, each.placements), []).append(each)
    norms = [whole(torch.nn.utils.get_total_norm(group)) for group in groups.values()]
    norms += [torch.nn.utils.get_total_norm(ordinary)] if ordinary else []
    return torch.stack([each.to(norms[0]) for each in norms]).norm()


@torch.no_grad()
def clip(gradients: Iterable[Tensor], most: float, algorithm: str | None = None, total: Tensor | None = None) -> None:
    """Shrinks gradients in place.

    Args:
        most: what is left at most.
        algorithm: "value" for the size of each number, otherwise for their norm together, as
            `torch.nn.utils.clip_grad_norm_` has it.
        total: that norm, where it is known already.
    """
    gradients = list(gradients)
    if algorithm == "value":
        for each in gradients:
            own(each).clamp_(-most, most)
        return
    factor = (most / ((norm(gradients) if total is None else total) + 1e-6)).clamp(max=1.0)
    if factor.is_cpu and bool(factor == 1):  # nothing to shrink; elsewhere, to look would mean to wait
        return
    for each in gradients:
        own(each).mul_(factor.to(own(each).device))
