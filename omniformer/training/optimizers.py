"""Optimizers with the parameter groups, and the schedule, of a transformer: objects that a config describes."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from omniformer.core import checks
from omniformer.core.ranges import BelowOne, Count, Natural, NotNegative, Positive, Share, SomeShare
from omniformer.parallel.tensors import mesh_of
from omniformer.training.parameter_groups import check_patterns, describe, groups
from omniformer.training.schedules import ENDLESS, Schedule, schedule

log = logging.getLogger(__name__)

_WARMUP = 100  # steps, or a fifth of a shorter run: measured in docs/training.md


class OptimizerFactory(ABC):
    """Builds an optimizer for a model, and its schedule.

    Args:
        lr: peak learning rate.
        weight_decay: decoupled, for matrices only.
        layer_decay: factor on the rate for each block further from the head; 1 for none, about 0.75 to fine-tune.
        lr_of: peak rates of some parameters in the place of `lr`, by shell patterns of their names.
        schedule: how the rate changes, see `omniformer.training.schedules`.
        warmup_steps: optimizer steps in which the rate rises; below 1 the share of the run, such as 0.1. None for 100,
            or, by a schedule with an end, a fifth of a run that is shorter than 500, so that none ends before its peak.
        min_factor: rate at the end over peak rate, for schedules that end.
        decay_share: share of the run in which `wsd` decays.
        base_width: `core.d_model` at which `lr` was found, so that it holds for other widths; None takes it as it is.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        *,
        lr: Positive,
        weight_decay: NotNegative,
        layer_decay: SomeShare,
        lr_of: Mapping[str, Positive] | None,
        schedule: Schedule,
        warmup_steps: Natural | BelowOne | None,
        min_factor: Share,
        decay_share: Share,
        base_width: Count | None,
    ) -> None:
        if base_width is not None:
            checks.counts(base_width=base_width)
        if lr <= 0 or weight_decay < 0 or not 0 < layer_decay <= 1:
            raise ValueError(
                f"lr={lr}, weight_decay={weight_decay}, layer_decay={layer_decay}: lr must be above 0, weight_decay "
                "at least 0, layer_decay in (0, 1]"
            )
        self.lr = lr
        self.weight_decay = weight_decay
        self.layer_decay = layer_decay
        self.lr_of = dict(lr_of or {})
        self.schedule: Schedule = schedule
        self.warmup_steps = warmup_steps
        self.min_factor = min_factor
        self.decay_share = decay_share
        self.base_width = base_width
        if isinstance(warmup_steps, float) and not 0 <= warmup_steps < 1:
            raise ValueError(
                f"warmup_steps={warmup_steps} must be a whole number of steps, or a share of the run from 0 to below 1"
            )
        self._factor(total_steps=1)  # so that a mistake is told when the config is read

    @abstractmethod
    def __call__(self, model: nn.Module) -> Optimizer:
        """The optimizer of a model's trainable parameters."""

    def scheduler(self, optimizer: Optimizer, total_steps: int | None) -> LambdaLR:
        """The schedule, to be stepped once after each optimizer step.

        Args:
            optimizer: what `__call__` gave.
            total_steps: optimizer steps in the run; None if it has no planned end.

        Raises:
            ValueError: the schedule has an end and the run has none, or the warm-up is a share of a run without one.
        """
        warmup = self._warmup(total_steps)
        if total_steps is not None and 2 * warmup > total_steps:
            reached = "never reaches" if warmup > total_steps else "spends most of its steps on the way to"
            log.warning(
                "optim.warmup_steps=%d of a run of %d steps: the rate %s optim.lr=%g; lower the first, or train longer",
                *(warmup, total_steps, reached, self.lr),
            )
        return LambdaLR(optimizer, self._factor(total_steps=total_steps))

    def told(self, total_steps: int | None, epoch_steps: int | None = None) -> str:
        """How long a run is and for how much of it the rate rises, in words.

        Args:
            total_steps: optimizer steps in the run; None if it has no planned end.
            epoch_steps: of one epoch; None where its length is not known.

        Example:
            >>> AdamW(lr=0.01).told(1000, 250)
            '1,000 steps, 4 epochs of 250; warm-up 100, peak rate 0.01'
        """
        length = "steps without a planned end" if total_steps is None else f"{total_steps:,} steps"
        if epoch_steps and (total_steps is None or total_steps <= epoch_steps):
            length += f", an epoch has {epoch_steps:,}"
        elif epoch_steps and total_steps:
            epochs = f"{total_steps / epoch_steps:.1f}".removesuffix(".0")
            length += f", {epochs} epochs of {epoch_steps:,}"
        return f"{length}; warm-up {self._warmup(total_steps):,}, peak rate {self.lr:g}"

    def _warmup(self, total_steps: int | None) -> int:
        """The optimizer steps in which the rate rises."""
        if self.warmup_steps is None:
            if total_steps is None or self.schedule in ENDLESS:
                return _WARMUP
            return min(_WARMUP, total_steps // 5)
        if not isinstance(self.warmup_steps, float):
            return self.warmup_steps
        if total_steps is None:
            raise ValueError(
                f"warmup_steps={self.warmup_steps} is a share of a run without a planned end; give a number of steps, "
                "or set trainer.max_epochs or trainer.max_steps"
            )
        return round(self.warmup_steps * total_steps)

    def _factor(self, *, total_steps: int | None) -> Callable[[int], float]:
        return schedule(
            self.schedule,
            total_steps=total_steps,
            warmup_steps=self._warmup(total_steps),
            final=self.min_factor,
            decay_share=self.decay_share,
        )


class AdamW(OptimizerFactory):
    """AdamW (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101).

    Args:
        lr: peak learning rate.
        weight_decay: decoupled, for matrices only: never biases, norms, embeddings or positions.
        betas: decay of the running means of gradient and squared gradient. 0.95 rather than 0.999 for the second is
            usual for
            transformers: it forgets a spike in twenty steps, not a thousand.
        eps: keeps the division finite.
        layer_decay: factor on the rate for each block further from the head; 1 for none, about 0.75 to fine-tune.
        lr_of: peak rates of some parameters in the place of `lr`, by shell patterns of their names, such as
            `{"core.*": 1e-5}`; the last that fits counts.
        schedule: `constant`, `linear`, `cosine`, `noam` or `wsd`.
        warmup_steps: optimizer steps in which the rate rises; below 1 the share of the run, such as 0.1. None for 100,
            or, by a schedule with an end, a fifth of a run that is shorter than 500, so that none ends before its peak.
        min_factor: rate at the end over peak rate.
        decay_share: share of the run in which `wsd` decays.
        base_width: `core.d_model` at which `lr` was found. Matrices of a core and heads of another width then learn by
            `base_width / d_model` of it (muP, https://arxiv.org/abs/2203.03466, table 8), so that the best rate is the
            same for all widths (docs/sizes.md). None takes `lr` as it is.
        fused: one kernel for all parameters, on CPU and GPU. Must be off with `precision=16-mixed` and gradient
            clipping.

    Raises:
        ValueError: a number is out of range.

    Example:
        >>> model = nn.Linear(4, 2)
        >>> optimizer = AdamW(lr=0.01, warmup_steps=10)(model)
        >>> [(len(group["params"]), group["weight_decay"]) for group in optimizer.param_groups]
        [(1, 0.05), (1, 0.0)]
    """

    def __init__(
        self,
        *,
        lr: Positive = 1e-3,
        weight_decay: NotNegative = 0.05,
        betas: tuple[BelowOne, BelowOne] = (0.9, 0.95),
        eps: Positive = 1e-8,
        layer_decay: SomeShare = 1.0,
        lr_of: dict[str, Positive] | None = None,
        schedule: Schedule = "cosine",
        warmup_steps: Natural | BelowOne | None = None,
        min_factor: Share = 0.0,
        decay_share: Share = 0.2,
        base_width: Count | None = None,
        fused: bool = True,
    ) -> None:
        super().__init__(
            lr=lr,
            weight_decay=weight_decay,
            layer_decay=layer_decay,
            lr_of=lr_of,
            schedule=schedule,
            warmup_steps=warmup_steps,
            min_factor=min_factor,
            decay_share=decay_share,
            base_width=base_width,
        )
        self.betas = _two(betas)
        self.eps = eps
        self.fused = fused

    def __call__(self, model: nn.Module) -> Optimizer:
        """The optimizer of a model's trainable parameters."""
        described = describe(model)
        check_patterns(described, self.lr_of)
        rates: Any = {"lr": self.lr, "weight_decay": self.weight_decay, "layer_decay": self.layer_decay}
        grouped = groups(described, **rates, lr_of=self.lr_of, base_width=self.base_width)
        return torch.optim.AdamW(grouped, lr=self.lr, betas=self.betas, eps=self.eps, **_kernel(grouped, self.fused))


class Muon(OptimizerFactory):
    """Muon for hidden matrices (Jordan 2024, https://kellerjordan.github.io/posts/muon), AdamW for all else, as one.

    Muon's updates are scaled to the size of AdamW's (Liu et al. 2025, https://arxiv.org/abs/2502.16982), so one
    learning rate and one weight decay serve both, and those found for AdamW carry over.

    Args:
        lr: peak learning rate, for both.
        weight_decay: decoupled, for matrices only.
        momentum: of Muon.
        nesterov: whether Muon looks ahead.
        ns_steps: Newton-Schulz iterations that make an update orthogonal.
        betas: of AdamW.
        eps: of AdamW.
        layer_decay: factor on the rate for each block further from the head; 1 for none.
        lr_of: peak rates of some parameters in the place of `lr`, by shell patterns of their names; the last that fits
            counts.
        schedule: `constant`, `linear`, `cosine`, `noam` or `wsd`.
        warmup_steps: optimizer steps in which the rate rises; below 1 the share of the run, such as 0.1. None for 100,
            or, by a schedule with an end, a fifth of a run that is shorter than 500, so that none ends before its peak.
        min_factor: rate at the end over peak rate.
        decay_share: share of the run in which `wsd` decays.
        base_width: `core.d_model` at which `lr` was found. AdamW's matrices then learn by `base_width / d_model` of it,
            Muon's by the root of that. None takes `lr` as it is.
        adamw_modules: submodules whose matrices AdamW keeps: their rows or columns are classes or features, each with a
            meaning of its own, which an orthogonal update would mix.
        fused: one kernel for all of AdamW's parameters.

    Raises:
        ValueError: a number is out of range; when called: the model has no hidden matrix.

    Example:
        >>> model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4))
        >>> [group["optimizer"] for group in Muon(lr=0.01)(model).param_groups]
        ['muon', 'adamw']
    """

    def __init__(
        self,
        *,
        lr: Positive = 1e-3,
        weight_decay: NotNegative = 0.05,
        momentum: BelowOne = 0.95,
        nesterov: bool = True,
        ns_steps: Count = 5,
        betas: tuple[BelowOne, BelowOne] = (0.9, 0.95),
        eps: Positive = 1e-8,
        layer_decay: SomeShare = 1.0,
        lr_of: dict[str, Positive] | None = None,
        schedule: Schedule = "cosine",
        warmup_steps: Natural | BelowOne | None = None,
        min_factor: Share = 0.0,
        decay_share: Share = 0.2,
        base_width: Count | None = None,
        adamw_modules: Sequence[str] = ("embedder", "embedders", "head", "heads"),
        fused: bool = True,
    ) -> None:
        super().__init__(
            lr=lr,
            weight_decay=weight_decay,
            layer_decay=layer_decay,
            lr_of=lr_of,
            schedule=schedule,
            warmup_steps=warmup_steps,
            min_factor=min_factor,
            decay_share=decay_share,
            base_width=base_width,
        )
        self.adamw_modules = tuple(adamw_modules)
        self._muon = {"momentum": momentum, "nesterov": nesterov, "ns_steps": ns_steps}
        self._adamw = {"betas": _two(betas), "eps": eps}
        self.fused = fused

    def __call__(self, model: nn.Module) -> Optimizer:
        """The optimizer of a model's trainable parameters."""
        described = describe(model, outside=self.adamw_modules)
        hidden = [item for item in described if item.hidden]
        if not hidden:
            raise ValueError(
                f"{type(model).__name__} has no matrix outside {', '.join(self.adamw_modules)} for Muon to train; "
                "use optim=adamw"
            )
        check_patterns(described, self.lr_of)
        top = max(item.depth for item in described)
        rates: Any = {"lr": self.lr, "weight_decay": self.weight_decay, "layer_decay": self.layer_decay}
        rates |= {"top": top, "lr_of": self.lr_of, "base_width": self.base_width}
        muon = torch.optim.Muon(
            groups(hidden, **rates, width_power=0.5), lr=self.lr, adjust_lr_fn="match_rms_adamw", **self._muon
        )
        others = groups([item for item in described if not item.hidden], **rates)
        own: Any = self._adamw | _kernel(others, self.fused)
        adamw = torch.optim.AdamW(others, lr=self.lr, **own) if others else None
        return Joined({"muon": muon, "adamw": adamw} if adamw is not None else {"muon": muon})


class Joined(Optimizer):
    """Several optimizers over different parameters that act as one: one `step`, one state, one list of groups.

    Args:
        optimizers: by name; each of their groups gets the name as `group["optimizer"]`.
    """

    def __init__(self, optimizers: Mapping[str, Optimizer]) -> None:
        self.optimizers = optimizers
        for name, optimizer in optimizers.items():
            for group in optimizer.param_groups:
                group["optimizer"] = name
        super().__init__([group for optimizer in optimizers.values() for group in optimizer.param_groups], {})
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step of each, after one call of the closure."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for optimizer in self.optimizers.values():
            optimizer.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over a state that `state_dict` gave."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """Lets the parts work on the whole's groups and state; both are replaced when a state is loaded."""
        for name, optimizer in self.optimizers.items():
            optimizer.param_groups = [group for group in self.param_groups if group["optimizer"] == name]
            optimizer.state = self.state


def _kernel(groups: Sequence[Mapping[str, Any]], fused: bool) -> dict[str, Any]:
    """The kernel for some groups: one for all parameters cannot take whole ones beside those in pieces, as a gate
    without dimensions is in a model that is divided between processes, nor those that other processes share.
    """
    mixed = any(len({mesh_of(each) for each in group["params"]}) > 1 for group in groups)
    return {"fused": False, "foreach": False} if mixed else {"fused": fused}


def _two(betas: Sequence[float]) -> tuple[float, float]:
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas={list(betas)} must be two numbers in [0, 1)")
    return float(betas[0]), float(betas[1])
