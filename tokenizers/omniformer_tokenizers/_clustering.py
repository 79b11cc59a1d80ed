"""Centres of many vectors, for those who make ids of them."""

import torch
from torch import Tensor


def nearest(points: Tensor, centres: Tensor) -> Tensor:
    """The index of the nearest centre of each point, in chunks of bounded memory."""
    norms = centres.square().sum(1)
    chunks = [(norms - 2 * chunk @ centres.T).argmin(1) for chunk in points.split(65536)]
    return torch.cat(chunks) if chunks else torch.zeros(0, dtype=torch.int64)


def k_means(points: Tensor, k: int, iterations: int) -> Tensor:
    """Lloyd's algorithm from evenly spaced points in order of their sums, of colours dark to bright; empty clusters
    keep their place.
    """
    order = points.sum(1).argsort(stable=True)
    centres = points[order[torch.linspace(0, len(points) - 1, k).round().long()]].clone()
    for _ in range(iterations):
        owner = nearest(points, centres)
        counts = torch.bincount(owner, minlength=k)
        sums = torch.zeros(k, points.shape[1], dtype=torch.float64).index_add_(0, owner, points.double())
        means = (sums / counts.clamp(min=1)[:, None]).float()
        centres = torch.where(counts[:, None] > 0, means, centres)
    return centres[centres.sum(1).argsort(stable=True)].contiguous()
