"""What all ranks have together: rows, for losses that compare every sample with every other, and counts."""

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from omniformer.parallel import readers


def gather(rows: Tensor) -> Tensor:
    """The rows of all ranks that read other samples, in their order; the rows themselves outside a distributed run.

    Ranks may have different numbers of rows, also none. Every rank that computes the same loss from all rows gets the
    gradient of its own rows times the number of those ranks; data-parallel training averages over ranks, so what
    reaches the weights is the exact gradient of the loss over all rows.

    Args:
        rows: of this rank, of the same type and width on every rank.

    Shapes:
        `[rows, ...]` → `[rows of all ranks, ...]`.

    Example:
        >>> gather(torch.tensor([[1.0], [2.0]])).tolist()
        [[1.0], [2.0]]
    """
    if n_ranks() == 1:
        return rows
    group = readers.group()
    own, world = distributed.get_rank(group), distributed.get_world_size(group)
    sizes = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(world)]
    distributed.all_gather(sizes, torch.tensor([len(rows)], device=rows.device), group=group)
    counts = [int(size) for size in sizes]
    longest = max(counts)
    # Collectives need equal sizes, so short ranks send rows of zeros that are cut off again.
    padded = F.pad(rows.detach().flatten(1), (0, 0, 0, longest - len(rows))).contiguous()
    parts = [torch.empty_like(padded) for _ in range(world)]
    distributed.all_gather(parts, padded, group=group)
    found = [part[:count].unflatten(1, rows.shape[1:]) for part, count in zip(parts, counts, strict=True)]
    found[own] = rows.detach() + world * (rows - rows.detach()) if rows.requires_grad else rows
    return torch.cat(found)


def total(counts: Tensor) -> Tensor:
    """The sum over ranks, which travels between hosts, so that nobody waits for a device.

    Args:
        counts: of this rank, of the same shape on every rank, on the host.

    Example:
        >>> total(torch.tensor([3, 4])).tolist()
        [3, 4]
    """
    if n_ranks() == 1:
        return counts
    summed = counts.clone()
    distributed.all_reduce(summed, group=_hosts(distributed.group.WORLD))
    return summed


def mean(numbers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The means over ranks of single numbers, which all ranks have by the same names in the same order.

    Example:
        >>> mean({"loss": torch.tensor(0.5)})
        {'loss': tensor(0.5000)}
    """
    if n_ranks() == 1 or not numbers:
        return dict(numbers)
    summed = torch.stack([each.detach().float() for each in numbers.values()])
    distributed.all_reduce(summed)
    return dict(zip(numbers, summed / n_ranks(), strict=True))


@cache
def _hosts(world: distributed.ProcessGroup) -> distributed.ProcessGroup:
    """All ranks by a backend that moves host memory; made once for each process group."""
    return world if distributed.get_backend() == "gloo" else distributed.new_group(backend="gloo")  # pyright: ignore[reportReturnType]


def n_ranks() -> int:
    """How many processes train together; 1 outside a distributed run."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
