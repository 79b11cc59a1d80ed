"""How the learning rate changes over a run: pure functions from the number of an update to a factor.

Updates are counted from 1, as in "Attention Is All You Need" (section 5.3). Every schedule rises linearly over
`warmup_steps` updates, so that the peak, factor 1, is update number `warmup_steps` (or 1 without warm-up). The ones
that end reach `final` just after the last update: no update is spent on a rate of zero.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

Schedule = Literal["constant", "linear", "cosine", "noam", "wsd"]
NAMES: tuple[Schedule, ...] = ("constant", "linear", "cosine", "noam", "wsd")
ENDLESS: tuple[Schedule, ...] = ("constant", "noam")  # the same however long a run becomes


def constant(step: int, *, warmup_steps: int = 0) -> float:
    """Stays at 1 after the warm-up.

    Example:
        >>> [constant(step, warmup_steps=2) for step in (1, 2, 3)]
        [0.5, 1.0, 1.0]
    """
    return min(1.0, step / warmup_steps) if warmup_steps else 1.0


def linear(step: int, *, total_steps: int, warmup_steps: int = 0, final: float = 0.0) -> float:
    """Falls in a straight line.

    Example:
        >>> [linear(step, total_steps=4) for step in (1, 2, 3, 4)]
        [1.0, 0.75, 0.5, 0.25]
    """
    if step <= warmup_steps:
        return step / warmup_steps
    return 1.0 - (1.0 - final) * _progress(step, max(warmup_steps, 1), total_steps)


def cosine(step: int, *, total_steps: int, warmup_steps: int = 0, final: float = 0.0) -> float:
    """Falls like half a cosine wave (Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983, without restarts).

    Example:
        >>> [round(cosine(step, total_steps=4), 3) for step in (1, 3, 5)]
        [1.0, 0.5, 0.0]
    """
    if step <= warmup_steps:
        return step / warmup_steps
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * _progress(step, max(warmup_steps, 1), total_steps)))


def noam(step: int, *, warmup_steps: int) -> float:
    """Falls with the inverse square root of the step (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, eq. 3).

    The paper's rate is `d_model^-0.5 * min(step^-0.5, step * warmup_steps^-1.5)`, with its peak `(d_model *
    warmup_steps)^-0.5` at `step = warmup_steps`. Here the peak is 1: set `optim.lr` to that number for the paper's
    rate.

    Example:
        >>> [noam(step, warmup_steps=4) for step in (2, 4, 16)]
        [0.5, 1.0, 0.5]
    """
    warmup_steps = max(warmup_steps, 1)
    return min(step / warmup_steps, math.sqrt(warmup_steps / step))


def wsd(step: int, *, total_steps: int, warmup_steps: int = 0, decay_share: float = 0.2, final: float = 0.0) -> float:
    """Warm-up, stable, decay: stays at 1, then falls in a line (Hu et al. 2024, https://arxiv.org/abs/2404.06395).

    Args:
        step: number of the update.
        total_steps: updates in the run.
        warmup_steps: updates of the rise.
        decay_share: share of the run that the fall takes; the paper finds a tenth enough, a fifth is common.
        final: factor after the last update.

    Example:
        >>> [wsd(step, total_steps=10, decay_share=0.2) for step in (1, 8, 9, 10)]
        [1.0, 1.0, 1.0, 0.5]
    """
    if step <= warmup_steps:
        return step / warmup_steps
    begin = max(total_steps + 1 - max(round(decay_share * total_steps), 1), warmup_steps, 1)
    return 1.0 if step <= begin else 1.0 - (1.0 - final) * _progress(step, begin, total_steps)


def schedule(
    name: Schedule, *, total_steps: int | None, warmup_steps: int = 0, final: float = 0.0, decay_share: float = 0.2
) -> Callable[[int], float]:
    """The schedule as `LambdaLR` calls it: with the number of updates already done.

    Args:
        name: one of `NAMES`.
        total_steps: updates in the run; None if it has no planned end.
        warmup_steps: updates of the rise.
        final: factor after the last update, for those that end.
        decay_share: for `wsd`.

    Raises:
        ValueError: unknown name, a number out of range, or a schedule with an end for a run without.
    """
    if name not in NAMES:
        raise ValueError(f"schedule={name!r} is unknown; choose one of {', '.join(NAMES)}")
    if warmup_steps < 0 or not 0 <= final <= 1 or not 0 < decay_share <= 1:
        raise ValueError(
            f"warmup_steps={warmup_steps}, final={final}, decay_share={decay_share}: warmup_steps is at least 0, final "
            "lies in [0, 1], decay_share in (0, 1]"
        )
    factor = _endless(name, warmup_steps) if name in ENDLESS else None
    if factor is None:
        if total_steps is None:
            raise ValueError(
                f"schedule={name!r} must know where the run ends; set trainer.max_epochs or trainer.max_steps"
            )
        options = {"total_steps": total_steps, "warmup_steps": warmup_steps, "final": final}
        ending = {"linear": linear, "cosine": cosine, "wsd": partial(wsd, decay_share=decay_share)}[name]
        factor = partial(ending, **options)
    return lambda done: factor(done + 1)


def total_steps(
    *,
    batches_per_epoch: int | None,
    accumulate_grad_batches: int = 1,
    max_epochs: int | None = None,
    max_steps: int = -1,
) -> int | None:
    """The number of optimizer updates of a run, from the settings alone.

    (`trainer.estimated_stepping_batches` would load the training data early and lose the place in it after a resume.)

    Args:
        batches_per_epoch: training batches of one epoch on one rank, after any limit; None if there is no end.
        accumulate_grad_batches: batches of one update. The last update of an epoch makes do with what is left.
        max_epochs: as Lightning's; None or -1 for no limit.
        max_steps: as Lightning's; -1 for no limit.

    Returns:
        The number, or None for a run without an end.

    Example:
        >>> total_steps(batches_per_epoch=5, accumulate_grad_batches=2, max_epochs=3)
        9
    """
    limits = [max_steps] if max_steps != -1 else []
    if max_epochs not in (None, -1) and batches_per_epoch is not None:
        limits.append(math.ceil(batches_per_epoch / accumulate_grad_batches) * max_epochs)
    return min(limits, default=None)


def planned_steps(trainer: Mapping[str, Any], batches: int) -> int | None:
    """The number of optimizer updates of a run, by the options of its trainer.

    Args:
        trainer: options by Lightning's names.
        batches: training batches of one epoch on one rank, before any limit.

    Example:
        >>> planned_steps({"max_epochs": 3, "limit_train_batches": 0.5}, 10)
        15
    """
    limit = trainer.get("overfit_batches") or trainer.get("limit_train_batches")
    if limit is not None:
        batches = min(batches, limit) if isinstance(limit, int) else math.floor(batches * limit)
    return total_steps(
        batches_per_epoch=batches,
        accumulate_grad_batches=trainer.get("accumulate_grad_batches") or 1,
        max_epochs=trainer.get("max_epochs"),
        max_steps=trainer.get("max_steps", -1),
    )


def _endless(name: Schedule, warmup_steps: int) -> Callable[[int], float]:
    return partial(constant if name == "constant" else noam, warmup_steps=warmup_steps)


def _progress(step: int, begin: int, total_steps: int) -> float:
    """0 at `begin`, 1 just after the last update and from then on."""
    return min(1.0, (step - begin) / max(total_steps + 1 - begin, 1))
