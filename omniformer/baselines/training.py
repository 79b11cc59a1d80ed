"""Training a small network: the epoch that is best on validation answers."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.baselines.baseline import evaluated
from omniformer.baselines.problem import Problem
from omniformer.data.source import Split

Forward = Callable[[Split, Tensor], Tensor]
_Best = tuple[float, dict[Split, Tensor]]
BATCH = 32
_VALIDATIONS = 20


def trained(problem: Problem, model: nn.Module, forward: Forward, *, lr: float, steps: int) -> dict[Split, Tensor]:
    """What a network says of validation and test where it validates best, or at the end where there is no validation.

    Args:
        problem: has the targets.
        model: the network.
        forward: raw outputs `[samples, outputs]` of some samples of a split, by their places.
        lr: of Adam, at the start of a cosine.
        steps: of `BATCH` samples.
    """
    known = problem.targets("train")
    numbers = problem.kind == "value"
    mean, std = (known.nanmean(0), _spread(known)) if numbers else (torch.zeros(()), torch.ones(()))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best: _Best = (float("-inf"), {})
    order: list[int] = []
    for step in range(1, steps + 1):
        if len(order) < min(BATCH, len(known)):
            order = torch.randperm(len(known)).tolist()
        chosen, order = torch.tensor(order[:BATCH]), order[BATCH:]
        model.train()
        optimizer.zero_grad()
        wanted = (known[chosen] - mean) / std if numbers else known[chosen]
        _loss(problem, forward("train", chosen), wanted).backward()
        optimizer.step()
        schedule.step()
        if step == steps or ("val" in problem.raws and step % max(steps // _VALIDATIONS, 1) == 0):
            model.eval()
            best = _better(problem, best, lambda split: _all(problem, forward, split) * std + mean)
    return best[1]


def _better(problem: Problem, best: _Best, answer: Callable[[Split], Tensor]) -> _Best:
    """How good the best so far is on validation, and what it says; only what is better is asked for the test, which is
    often the largest split.
    """
    if "val" not in problem.raws:
        return 0.0, {split: answer(split) for split in evaluated(problem)}
    said = answer("val")
    good = problem.goodness("val", said)
    if best[1] and good <= best[0]:
        return best
    return good, {split: said if split == "val" else answer(split) for split in evaluated(problem)}


def steps_for(samples: int, passes: int, most: int) -> int:
    """Steps of so many passes, and at most so many."""
    return max(min(passes * -(-samples // BATCH), most), 1)


def _loss(problem: Problem, said: Tensor, wanted: Tensor) -> Tensor:
    if problem.kind == "label":
        return F.cross_entropy(said, wanted)
    there = ~wanted.isnan()
    loss = F.mse_loss if problem.kind == "value" else F.binary_cross_entropy_with_logits
    return loss(said[there], wanted[there]) if there.any() else said.sum() * 0


def _spread(values: Tensor) -> Tensor:
    spread = torch.stack([column[~column.isnan()].std(correction=0) for column in values.T])
    return torch.where(spread > 0, spread, torch.ones_like(spread))


@torch.no_grad()
def _all(problem: Problem, forward: Forward, split: Split) -> Tensor:
    places: Sequence[Tensor] = torch.arange(len(problem.raws[split])).split(256)
    return torch.cat([forward(split, each) for each in places])
