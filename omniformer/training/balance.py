"""How members of a joint run pull at the core that they share: how hard, and against each other or not."""

import math
from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from omniformer.core import checks
from omniformer.core.ranges import Count
from omniformer.parallel.compiling import Compiling

_KEPT = 0.9  # of the old mean of a norm, where weights follow from it


class Balance(Callback):
    """Measures, every so many steps, the gradient of each member's weighted loss on the parameters of the core: its
    norm, its share of the sum of norms, and the cosine between the gradients of two members, which is below 0 where
    they conflict ([Yu et al. 2020](https://arxiv.org/abs/2001.06782)).

    `metrics.json` has means over the measured steps: `<member>/train/gradient_norm`, `<member>/train/gradient_share`,
    `<one>+<other>/train/gradient_cosine` and `<one>+<other>/train/gradient_conflicts`, the share of steps with a cosine
    below 0; the report has them as tables. A measured step takes one further backward pass for each member; the
    gradients of the step are the same with and without.

    Left out, which is said: in runs of one member, on several processes, and where the core is compiled, as its
    programs cannot be asked for a gradient twice.

    Args:
        every_steps: of so many steps the last is measured; not the first, as heads that begin at zero let no gradient
            through. At 50, four members cost four further backward passes in 50 steps.
        even: weighs members so that all pull equally hard, as `loss_weight` says: each loss is divided by the running
            mean of its norm, times the geometric mean of all (the aim of GradNorm,
            [Chen et al. 2018](https://arxiv.org/abs/1711.02257), without learned weights). `metrics.json` then has the
            last of these weights as `<member>/train/balance`.

    Raises:
        ValueError: `every_steps` is below 1.
    """

    def __init__(self, *, every_steps: Count = 50, even: bool = False) -> None:
        checks.counts(every_steps=every_steps)
        self.every_steps = every_steps
        self.even = even
        self._on = False
        self._step = -1  # the last one that was measured
        self._sums: defaultdict[str, float] = defaultdict(float)  # over measured steps, by the name of a number
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._norms: dict[str, float] = {}  # running means of what members would pull with if all weighed the same
        self._told: dict[str, float] = {}  # what the configuration weighs members by

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says why nothing is measured, if nothing is; resumed, weighs as before."""
        tasks: Mapping[str, Any] = pl_module.tasks  # pyright: ignore[reportAssignmentType]
        why = None
        if len(tasks) < 2:
            why = f"{next(iter(tasks))} is the only member of the run"
        elif trainer.world_size > 1:
            why = f"the run has {trainer.world_size} processes, and it is measured on one"
        elif any(isinstance(each, Compiling) for each in trainer.callbacks):  # pyright: ignore[reportAttributeAccessIssue]
            why = "gradients of members cannot be taken apart in compiled programs"
        self._on = why is None
        if why is not None:
            rank_zero_info(f"the balance of members is left out: {why}")
            return
        self._told = {name: float(task.loss_weight) for name, task in tasks.items()}
        self._weigh(tasks)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Measures, if the step is one of those."""
        step = trainer.global_step
        if not self._on or (step + 1) % self.every_steps or step == self._step:
            return
        self._step = step
        shared = [each for each in pl_module.model.core.parameters() if each.requires_grad]  # pyright: ignore[reportAttributeAccessIssue]
        parts: Mapping[str, Tensor] = pl_module.weighted  # pyright: ignore[reportAssignmentType]
        if not shared or not parts:
            return
        gradients = {name: _flat(part, shared) for name, part in parts.items()}
        told = self._numbers(gradients)
        for name, value in told.items():
            self._sums[name] += value
            self._counts[name] += 1
        for logger in trainer.loggers:
            logger.log_metrics(told, step=step)
        if self.even:
            tasks: Mapping[str, Any] = pl_module.tasks  # pyright: ignore[reportAssignmentType]
            self._follow({name: told[f"{name}/train/gradient_norm"] for name in gradients}, tasks)

    def results(self) -> dict[str, float]:
        """The numbers for `metrics.json`."""
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        weights = {f"{name}/train/balance": value for name, value in self._factors().items()} if self.even else {}
        return means | weights

    def state_dict(self) -> dict[str, Any]:
        """What has been measured."""
        return {"step": self._step, "sums": dict(self._sums), "counts": dict(self._counts), "norms": self._norms}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The opposite."""
        self._step, self._norms = state_dict["step"], dict(state_dict["norms"])
        self._sums = defaultdict(float, state_dict["sums"])
        self._counts = defaultdict(int, state_dict["counts"])

    def _numbers(self, gradients: Mapping[str, Tensor]) -> dict[str, float]:
        norms = {name: float(each.norm()) for name, each in gradients.items()}
        total = sum(norms.values())
        found = {f"{name}/train/gradient_norm": norm for name, norm in norms.items()}
        if total > 0:
            found |= {f"{name}/train/gradient_share": norm / total for name, norm in norms.items()}
        for one, other in combinations(sorted(gradients), 2):
            if norms[one] > 0 and norms[other] > 0:
                cosine = float(gradients[one] @ gradients[other]) / (norms[one] * norms[other])
                found[f"{one}+{other}/train/gradient_cosine"] = cosine
                found[f"{one}+{other}/train/gradient_conflicts"] = float(cosine < 0)
        return found

    def _follow(self, norms: Mapping[str, float], tasks: Mapping[str, Any]) -> None:
        """Takes new norms into the running means, and weighs by them."""
        for name, norm in norms.items():
            plain = norm / tasks[name].loss_weight if tasks[name].loss_weight else 0.0
            if 0 < plain < math.inf:  # a loss that is not finite is somebody else's to tell
                old = self._norms.get(name, plain)
                self._norms[name] = _KEPT * old + (1 - _KEPT) * plain
        self._weigh(tasks)

    def _weigh(self, tasks: Mapping[str, Any]) -> None:
        if self.even:
            for name, factor in self._factors().items():
                tasks[name].loss_weight = self._told[name] * factor

    def _factors(self) -> dict[str, float]:
        """By member what its loss is multiplied by; members that were not measured yet stay as they are."""
        if not self._norms:
            return {}
        middle = math.exp(sum(math.log(norm) for norm in self._norms.values()) / len(self._norms))
        return {name: middle / norm for name, norm in self._norms.items()}


def _flat(loss: Tensor, shared: list[torch.nn.Parameter]) -> Tensor:
    """The gradient on all shared parameters as one vector, zero where the loss does not depend on them."""
    if not loss.requires_grad:
        return torch.zeros(sum(each.numel() for each in shared), device=loss.device)
    found = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
    flat = (torch.zeros_like(each) if part is None else part for part, each in zip(found, shared, strict=True))
    return torch.cat([each.detach().flatten().float() for each in flat])
