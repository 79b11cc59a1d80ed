"""A range test before a run: which learning rate its loss falls fastest at."""

import copy
import csv
import io
import logging
import math
from collections.abc import Iterator, Sequence
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from omniformer.config import ConfigError
from omniformer.core.ranges import Positive
from omniformer.files.durable import write_durably
from omniformer.pages.drawing import SECOND, drawn

log = logging.getLogger(__name__)

_KEPT = 0.9  # share of the smoothed loss that stays from one step to the next
_DIVERGED = 4.0  # times the least smoothed loss
_LEAST = 5  # steps behind the first that a slope needs


class RateFinder(Callback):
    """Raises the learning rate step by step on batches of the run, until the loss diverges, and says at which it fell
    fastest ([Smith 2017](https://arxiv.org/abs/1506.01186), 3.3); then everything is as it was, and the run begins.

    The run folder gets `lr_finder.csv` and, with matplotlib, `lr_finder.svg`. The rate of the run stays as it was asked
    for, unless `apply` says otherwise.

    Args:
        output_dir: the run folder.
        lowest: the first rate.
        highest: the last one.
        steps: steps between them, each on a batch of its own while there are some, then on the same again.
        apply: whether the run takes the rate that was found, in the place of `optim.lr`.

    Raises:
        ValueError: the rates do not rise, or `steps` is below 20.
        ConfigError: before training, the run has several processes.
    """

    def __init__(
        self,
        *,
        output_dir: str,
        lowest: Positive = 1e-6,
        highest: Positive = 1.0,
        steps: Annotated[int, Ge(20)] = 100,
        apply: bool = False,
    ) -> None:
        if not 0 < lowest < highest:
            raise ValueError(f"lowest={lowest}, highest={highest}: the rate rises from above 0; give the larger second")
        if steps < 20:
            raise ValueError(f"steps={steps} are too few for a curve; give at least 20")
        self.output = Path(output_dir)
        self.lowest, self.highest, self.steps, self.apply = lowest, highest, steps, apply

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tries, tells, and puts everything back; a run that goes on from a checkpoint has its rate already."""
        if trainer.world_size > 1:
            raise ConfigError(
                [f"callbacks.lr_finder: received {trainer.world_size} processes, accepted one; find the rate on one"]
            )
        if trainer.ckpt_path is not None:
            rank_zero_info("the run goes on from a checkpoint: no learning rate is looked for")
            return
        kept = copy.deepcopy(pl_module.state_dict())
        try:
            with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
                curve = list(self._curve(trainer, pl_module))
        finally:
            pl_module.load_state_dict(kept)
            pl_module.zero_grad(set_to_none=True)
        rates, losses = [rate for rate, _ in curve], [loss for _, loss in curve]
        smooth = smoothed(losses)
        found = steepest(rates, smooth)
        self._write(rates, losses, smooth, found)
        self._tell(trainer, pl_module, found, len(curve))

    def _curve(self, trainer: Trainer, module: Any) -> Iterator[tuple[float, float]]:
        """Rates and the losses before their steps, until the loss diverges."""
        optimizer = module.optimizer(module)
        shares = [group["lr"] / module.optimizer.lr for group in optimizer.param_groups]
        batches = _batches(trainer, trainer.accumulate_grad_batches)
        losses: list[float] = []
        for step in range(self.steps):
            rate = self.lowest * (self.highest / self.lowest) ** (step / (self.steps - 1))
            for group, share in zip(optimizer.param_groups, shares, strict=True):
                group["lr"] = rate * share
            optimizer.zero_grad(set_to_none=True)
            losses.append(_backward(trainer, module, next(batches)))
            if not math.isfinite(losses[-1]):
                return
            yield rate, losses[-1]
            smooth = smoothed(losses)
            if step > _LEAST and smooth[-1] > _DIVERGED * min(smooth):
                return
            if trainer.gradient_clip_val:
                module.configure_gradient_clipping(
                    optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm
                )
            optimizer.step()

    def _tell(self, trainer: Trainer, module: Any, found: float | None, n: int) -> None:
        asked = module.optimizer.lr
        tried = f"{n} steps at rates from {self.lowest:g}, curve in {self.output / 'lr_finder.csv'}"
        if found is None:
            log.warning("no learning rate was found: the loss never fell (%s); the run has optim.lr=%g", tried, asked)
            return
        if not self.apply:
            rank_zero_info(f"the loss falls fastest at optim.lr={found:.2g} ({tried}); the run has optim.lr={asked:g}")
            return
        module.optimizer.lr = found
        for config in trainer.lr_scheduler_configs:
            scheduler: Any = config.scheduler
            scheduler.base_lrs = [rate * found / asked for rate in scheduler.base_lrs]
        for group in chain.from_iterable(each.param_groups for each in trainer.optimizers):
            group["lr"] *= found / asked
            group["initial_lr"] *= found / asked
        rank_zero_info(f"the loss falls fastest at {found:.2g} ({tried}); the run takes it in the place of {asked:g}")

    def _write(self, rates: Sequence[float], losses: Sequence[float], smooth: Sequence[float], found: Any) -> None:
        self.output.mkdir(parents=True, exist_ok=True)
        text = io.StringIO()
        csv.writer(text).writerows([("rate", "loss", "smoothed"), *zip(rates, losses, smooth, strict=True)])
        write_durably(self.output / "lr_finder.csv", text.getvalue())

        def draw(figure: Any) -> None:
            axes = figure.subplots()
            axes.plot(rates, losses, lw=0.8, alpha=0.4)
            axes.plot(rates, smooth, lw=1.6)
            axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
            if found is not None:
                axes.axvline(found, color=SECOND, ls="--", label=f"falls fastest: {found:.2g}")
                axes.legend()

        try:
            write_durably(self.output / "lr_finder.svg", drawn(draw, 5.0, 3.2))
        except ConfigError as error:
            rank_zero_info(f"no lr_finder.svg: {error}")


def _batches(trainer: Trainer, together: int) -> Iterator[list[Any]]:
    """Batches of the training split, as many together as make a step; again from the first where they end."""
    steps: Any = trainer.datamodule.train_dataloader()  # pyright: ignore[reportAttributeAccessIssue]
    loader = steps.loader  # by single batches, which know nothing of the run
    batches = chain.from_iterable(repeat(loader))
    while True:
        yield list(islice(batches, together))


def _backward(trainer: Trainer, module: Any, batches: Sequence[Any]) -> float:
    """Adds up the gradients of some batches; gives the mean loss."""
    total = 0.0
    for each in batches:
        with trainer.precision_plugin.forward_context():
            loss: Tensor = torch.zeros((), device=module.device)
            for name, batch in trainer.strategy.batch_to_device(each).items():
                losses: dict[str, Tensor] = {}
                task = module.tasks[name]
                loss = loss + task.loss_weight * task.step(module.model, batch, name, losses).loss
                loss = sum(losses.values(), start=loss)
        (loss / len(batches)).backward()
        total += float(loss.detach()) / len(batches)
    return total


def smoothed(losses: Sequence[float]) -> list[float]:
    """A running mean that forgets, without the pull of its beginning.

    Example:
        >>> [round(each, 3) for each in smoothed([2.0, 2.0, 1.0])]
        [2.0, 2.0, 1.631]
    """
    found, mean = [], 0.0
    for i, loss in enumerate(losses, 1):
        mean = _KEPT * mean + (1 - _KEPT) * loss
        found.append(mean / (1 - _KEPT**i))
    return found


def steepest(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """The rate at which a curve falls fastest over the logarithm of the rate; None where it never falls.

    Args:
        rates: rising.
        losses: of each, smoothed.

    Example:
        >>> steepest([10.0**i for i in range(-8, 0)], [9, 9, 9, 9, 9, 8, 2, 1])
        0.001
    """
    slopes = [(losses[i + 1] - losses[i - 1], rates[i]) for i in range(_LEAST, len(losses) - 1)]
    slope, rate = min(slopes, default=(0.0, 0.0))
    return rate if slope < 0 else None
