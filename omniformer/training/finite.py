"""Stops a run before a loss that is not a number reaches the weights."""

import logging
from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Annotated, Any

import torch
from annotated_types import Gt
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from omniformer.core.ranges import Natural
from omniformer.parallel.tensors import marks, norm
from omniformer.training.agreement import Agreement

log = logging.getLogger(__name__)

_WINDOW = 100  # losses whose median a spike is measured against
_WARM_UP = 20  # losses before anything is called a spike
_NAMED = 16  # sample ids spelled out in a message


class NonFiniteError(FloatingPointError, ValueError):
    """A loss or gradient is NaN or infinite; the weights have not been touched by it."""


class Finite(Callback):
    """Checks loss and gradient norm before every optimizer step, and stops all ranks when one of them is not finite.

    The message names members and samples. A module that keeps the losses of its last step in `member_losses`
    (member name -> loss) lets it name the guilty member; without it all members of the step are named. One with a dict
    `gradient_norms` finds the norm there, by the `marks` of its gradients, so as not to compute it anew. With
    `16-mixed` precision, where overflowing gradients are normal and the scaler skips them, only the loss is checked.

    Loss spikes, above `spike_factor` times the median of the last 100 steps, are logged with their sample ids.

    Args:
        max_skips: optimizer steps that may be left out instead of stopping, over the whole run. 0 since a loss that is
            not finite usually is a mistake, or a rate too high, that skipping only hides.
        spike_factor: how many times the median is a spike.

    Raises:
        ValueError: an argument is out of range.
        NonFiniteError: during training, as said above.
    """

    _agreement: Agreement

    def __init__(self, *, max_skips: Natural = 0, spike_factor: Annotated[float, Gt(1)] = 10.0) -> None:
        if max_skips < 0:
            raise ValueError(f"max_skips={max_skips} is negative; use 0 to stop at the first non-finite loss")
        if spike_factor <= 1:
            raise ValueError(f"spike_factor={spike_factor} is not above 1, so every other loss would be a spike")
        self.max_skips = max_skips
        self.spike_factor = spike_factor
        self.skipped = 0
        self._losses: deque[float] = deque(maxlen=_WINDOW)
        self._first_median: float | None = None
        self._pending: list[tuple[Tensor, dict[str, Tensor], dict[str, tuple[str, ...]]]] = []
        self._ids: dict[str, tuple[str, ...]] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Meets the other ranks."""
        if stage == "fit":
            self._agreement = Agreement(trainer)
            self._pending = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Notes which samples the step learns from."""
        self._ids = _ids_of(batch)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Notes the loss; it is looked at once a step, since looking waits for the device."""
        parts = getattr(pl_module, "member_losses", None)
        detached = {name: part.detach() for name, part in parts.items()} if isinstance(parts, Mapping) else {}
        self._pending.append((loss.detach() * trainer.accumulate_grad_batches, detached, self._ids))

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        """Lets the step pass, skips it, or stops the run: the same on all ranks."""
        pending, self._pending = self._pending, []
        total = _gradient_norm(trainer, pl_module, optimizer)
        # One transfer from the device for everything.
        values = torch.stack([loss.float() for loss, _, _ in pending] + [total]).tolist()
        losses, norm = values[:-1], values[-1]
        bad = not all(map(_is_finite, values))
        if self._agreement.any(bad):
            culprits = [
                culprit for loss, item in zip(losses, pending, strict=True) for culprit in _culprits(loss, *item[1:])
            ]
            self._refuse(trainer, optimizer, f"loss {losses}, gradient norm {norm}", culprits if bad else [])
        else:
            self._watch_for_spikes(trainer, sum(losses) / len(losses), pending)

    def state_dict(self) -> dict[str, Any]:
        """How many steps were skipped: the limit holds for the run, not for each part of it."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The opposite."""
        self.skipped = state_dict["skipped"]

    def _refuse(self, trainer: Trainer, optimizer: Any, numbers: str, culprits: list[str]) -> None:
        said = f"{numbers}; {', '.join(culprits) or 'every loss is finite, so the backward pass overflowed'}"
        if trainer.world_size == 1:
            told = [said]
        else:  # only those to blame; their gradients were added up, so that the norm may be bad on every rank
            blamed = self._agreement.gather((numbers, culprits))
            guilty: list[Any] = [(rank, each) for rank, each in enumerate(blamed) if each[1]]  # pyright: ignore[reportIndexIssue]
            told = [f"rank {rank}: {numbers}; {', '.join(names)}" for rank, (numbers, names) in guilty] or [said]
        message = f"not finite at step {trainer.global_step}: {'; '.join(told)}"
        self.skipped += 1
        if self.skipped <= self.max_skips:
            # Optimizers pass over parameters without a gradient, so nothing moves: no momentum and no weight decay
            # either.
            optimizer.zero_grad(set_to_none=True)
            log.warning("%s; step skipped (%d of at most %d)", message, self.skipped, self.max_skips)
            return
        skips = f" after {self.max_skips} skipped steps" if self.max_skips else ""
        raise NonFiniteError(
            f"{message}. Stopped{skips} before the weights changed. Look at these samples; try a lower optim.lr, more "
            "optim.warmup_steps or trainer.gradient_clip_val=1.0; or allow callbacks.finite.max_skips"
        )

    def _watch_for_spikes(self, trainer: Trainer, loss: float, pending: list[Any]) -> None:
        if len(self._losses) >= _WARM_UP:
            usual = median(self._losses)
            self._first_median = usual if self._first_median is None else self._first_median
            # A loss that has nearly vanished jumps about without meaning; a tenth of the first median is a real rise.
            if usual > 0 and loss > self.spike_factor * usual and loss > 0.1 * self._first_median:
                who = "; ".join(_name(member, ids) for _, _, all_ids in pending for member, ids in all_ids.items())
                log.warning(
                    "loss spike at step %d: %.4g, the median is %.4g; %s", trainer.global_step, loss, usual, who
                )
        self._losses.append(loss)


def _gradient_norm(trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> Tensor:
    if getattr(trainer.precision_plugin, "scaler", None) is not None:
        return torch.zeros((), device=pl_module.device)
    # In the optimizer's order, as who clips adds them up: another rounds otherwise.
    parameters = (each for group in optimizer.param_groups for each in group["params"])
    gradients = [each.grad for each in parameters if each.grad is not None]
    total = norm(gradients)
    known: Any = getattr(pl_module, "gradient_norms", None)
    if known is not None:
        known[marks(gradients)] = total
    return total.float().to(pl_module.device)


def _is_finite(value: float) -> bool:
    return value - value == 0


def _ids_of(batch: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(batch, Mapping):
        return {}
    return {name: tuple(part.ids) for name, part in batch.items() if hasattr(part, "ids")}


def _culprits(loss: float, parts: Mapping[str, Tensor], ids: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The members to blame for one batch, with their samples: none if its loss is finite."""
    if _is_finite(loss):
        return []
    guilty = [name for name, part in parts.items() if not bool(torch.isfinite(part).all())]
    return [_name(name, ids.get(name, ())) for name in guilty or ids]


def _name(member: str, ids: tuple[str, ...]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return f"member {member!r}, samples {', '.join(ids[:_NAMED])}{more}"
