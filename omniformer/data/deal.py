"""A step's samples dealt to ranks, so that each has as much to compute: nobody waits for another."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import inf

import torch
from torch import Tensor

# A share that costs so much more than the mean is good; below the lesser number nothing more is tried with it.
_GOOD, _EVEN = 0.01, 0.002
# Of as many samples of a rank pairs are tried too; of more, single ones fit well enough.
_FEW = 16
_ROUNDS, _TRIALS = 100, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a core computes for a sample of some length: maps of each token, and attention of tokens to others.

    Args:
        token: operations for a token, in any unit.
        pair: operations for a token that attends to a token, in the same unit.
        left: how many tokens before it one attends to at most.
        right: how many behind it.

    Example:
        >>> Work().of(10), Work(token=1.0, pair=0.1).of(10), Work(token=1.0, pair=0.1, right=0).of(10)
        (10.0, 20.0, 15.5)
    """

    token: float = 1.0
    pair: float = 0.0
    left: float = inf
    right: float = inf

    def of(self, length: int) -> float:
        """Operations for a sample of so many tokens."""
        pairs = length + sum(seen * (seen + 1) / 2 + (length - 1 - seen) * seen for seen in self._seen(length))
        return length * self.token + pairs * self.pair

    def _seen(self, length: int) -> tuple[float, float]:
        return min(self.left, max(length - 1, 0)), min(self.right, max(length - 1, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one rank takes of each step, in the order of the step; all of it where there is one rank.

    A rank may be left with nothing: its batch then has no sample, and no sample is taken twice.

    Args:
        rank: this process, from 0.
        world_size: the number of processes.
        lengths: tokens of each sample of the data set, by which all ranks get as much to compute; None deals by number.
        work: what a sample of some length costs.

    Example:
        >>> Share(rank=1, world_size=2).of([5, 6, 7, 8]), Share(rank=1, world_size=2).of([5])
        ([6, 8], [])
        >>> Share(rank=1, world_size=2, lengths=[30, 10, 10, 10]).of([0, 1, 2, 3])
        [1, 2, 3]
    """

    rank: int = 0
    world_size: int = 1
    lengths: Sequence[int] | None = None
    work: Work = Work()

    def of(self, batch: Sequence[int]) -> list[int]:
        """Of the samples of a step, all ranks together, those of this one."""
        if self.lengths is None or self.world_size == 1:
            return list(batch[self.rank :: self.world_size])
        costs = [self.work.of(self.lengths[index]) for index in batch]
        return [batch[place] for place in deal(costs, self.world_size)[self.rank]]


def deal(costs: Sequence[float], n: int) -> list[list[int]]:
    """Divides things between ranks, so that the costliest share costs little more than the others.

    Largest first, each to whoever has least, as in [Graham 1969](https://doi.org/10.1137/0117039); then the costliest
    share exchanges one or two things with another for as long as that helps, and where few things leave it uneven, all
    of it again from other beginnings. A thing that costs more than the mean of the shares cannot be divided, and its
    share stays the costliest. The same costs are dealt the same way everywhere.

    Args:
        costs: of each thing.
        n: the number of ranks.

    Returns:
        For each rank the places of its things, ascending.

    Example:
        >>> deal([8, 7, 6, 5, 4], 2)
        [[2, 3, 4], [0, 1]]
    """
    best, least = [[] for _ in range(n)], float("inf")
    for trial in range(_TRIALS):
        shares, loads = _first(costs, n, trial)
        for _ in range(_ROUNDS):
            most = max(range(n), key=loads.__getitem__)
            if loads[most] <= (1 + _EVEN) * sum(loads) / n or not _relieve(costs, shares, loads, most):
                break
        if max(loads) < least:
            best, least = shares, max(loads)
        if least <= (1 + _GOOD) * sum(loads) / n or len(costs) > n * _FEW or least <= max(costs):
            break
    return [sorted(share) for share in best]


def _first(costs: Sequence[float], n: int, trial: int) -> tuple[list[list[int]], list[float]]:
    """Largest first, each to whoever has least; in further trials by sizes that are wrong by up to a half."""
    chance = torch.Generator().manual_seed(trial)
    sizes = torch.tensor(costs, dtype=torch.float64)
    if trial:
        sizes = sizes * (1 + torch.rand(len(costs), generator=chance) / 2)
    shares: list[list[int]] = [[] for _ in range(n)]
    loads = [0.0] * n
    for place in sizes.argsort(descending=True, stable=True).tolist():
        rank = min(range(n), key=lambda rank: (loads[rank], len(shares[rank])))
        shares[rank].append(place)
        loads[rank] += costs[place]
    return shares, loads


def _relieve(costs: Sequence[float], shares: list[list[int]], loads: list[float], most: int) -> bool:
    """Makes the exchange between the costliest share and another that leaves the less of both; false for none."""
    best, chosen = loads[most] * (1 - 1e-9), None
    for other in range(len(shares)):
        gap = loads[most] - loads[other]
        if gap <= 0:
            continue
        (given, given_costs), (taken, taken_costs) = (_handfuls(costs, shares[rank]) for rank in (most, other))
        moved = given_costs[:, None] - taken_costs
        left = torch.maximum(loads[most] - moved, loads[other] + moved)
        place = int(left.argmin())
        if float(left.flatten()[place]) < best:
            best = float(left.flatten()[place])
            chosen = other, given[place // len(taken)], taken[place % len(taken)], float(moved.flatten()[place])
    if chosen is None:
        return False
    other, gives, takes, moved = chosen
    shares[most] = [place for place in shares[most] if place not in gives] + list(takes)
    shares[other] = [place for place in shares[other] if place not in takes] + list(gives)
    loads[most], loads[other] = loads[most] - moved, loads[other] + moved
    return True


def _handfuls(costs: Sequence[float], share: Sequence[int]) -> tuple[list[tuple[int, ...]], Tensor]:
    """What a share may give at once: nothing, one thing, or two of few; and what each handful costs."""
    sizes = range(3 if len(share) <= _FEW else 2)
    found = [handful for size in sizes for handful in combinations(share, size)]
    return found, torch.tensor([sum(costs[place] for place in handful) for handful in found], dtype=torch.float64)
