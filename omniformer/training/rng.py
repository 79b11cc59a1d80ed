"""Randomness of a training step that depends on nothing but where in the run the step stands."""

import random
from hashlib import blake2b
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from omniformer.core.ranges import Seed
from omniformer.parallel import readers


class StepSeeds(Callback):
    """Reseeds Python, NumPy and torch before every training batch, from (seed, epoch, batch, rank).

    Dropout masks then do not depend on what happened before: a resumed run draws the same as an uninterrupted one, and
    a validation more or less, or another number of workers, changes nothing. Nothing has to be saved. This stands where
    other trainers save generator states, which are one per rank and process, and which a validation moves on.

    Args:
        seed: the run's seed.

    Raises:
        ValueError: the seed is negative.
    """

    def __init__(self, *, seed: Seed) -> None:
        if seed < 0:
            raise ValueError(f"seed={seed} is negative; use 0 or more")
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Reseeds."""
        reader, _ = readers.place(trainer)  # those that compute one model together draw one mask
        reseed(step_key(self.seed, trainer.current_epoch, batch_idx, reader))


def step_key(seed: int, epoch: int, batch: int, rank: int) -> int:
    """A 63-bit number for one step of one rank; different steps get unrelated ones.

    Example:
        >>> step_key(0, 1, 2, 0) == step_key(0, 1, 2, 0), step_key(0, 1, 2, 0) == step_key(0, 2, 1, 0)
        (True, False)
    """
    digest = blake2b(f"{seed} {epoch} {batch} {rank}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def reseed(key: int) -> None:
    """Seeds every global generator that a training step may draw from."""
    import numpy

    # The generators themselves: torch.manual_seed would visit every backend and take 100 microseconds, these take 5.
    torch.default_generator.manual_seed(key)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(key)
    random.seed(key)
    numpy.random.seed(key % 2**32)  # noqa: NPY002 - the old global generator is the one that libraries draw from
