"""An exponential moving average of the weights, validated and saved in place of the last ones."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from omniformer.core.ranges import Share
from omniformer.parallel.tensors import like, own


class EMA(Callback):
    """Averages the weights from the first step on: `average = decay * average + (1 - decay) * weights`.

    Validation, the checkpoints' `state_dict` (so the best checkpoint too) and the finished model hold the average; the
    weights that training goes on with are kept beside it. While few steps were taken, the decay is `(1 + n) / (10 +
    n)`, as TensorFlow's `ExponentialMovingAverage(num_updates=n)` has it: a short run is not held back by its random
    start. Of weights that are divided between processes, each process averages what it holds.

    Args:
        decay: the share of the old average kept at each step; 0.999 remembers about a thousand steps.

    Raises:
        ValueError: the decay is not between 0 and 1.
    """

    def __init__(self, *, decay: Share = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay} is not in [0, 1); 0.999 is usual")
        self.decay = decay
        self._average: dict[str, Tensor] = {}  # by name of parameter or buffer; empty outside a training
        self._n = 0
        self._step = 0  # the last one that is averaged
        self._swapped = False
        self._weights: Mapping[str, Tensor] = {}  # those of a checkpoint to go on with, until the module stands

    @torch.no_grad()
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins the average with the weights; resumed, they hold that of the checkpoint, and are themselves loaded."""
        self._average = {name: each.detach().clone() for name, each in _numbers(pl_module).items()}
        held = pl_module.state_dict()
        for name, each in self._weights.items():
            own(held[name]).copy_(own(like(each, held[name])))
        self._weights = {}

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Averages after each optimizer step."""
        if trainer.global_step <= self._step:
            return
        decay = min(self.decay, (1 + self._n) / (10 + self._n))
        for name, each in _numbers(pl_module).items():
            average, new = own(self._average[name]), own(each)
            if self._n and average.is_floating_point():
                average.lerp_(new, 1 - decay)
            else:
                average.copy_(new)
        self._n, self._step = self._n + 1, trainer.global_step

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the average in the place of the weights."""
        self._swap(pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the weights back."""
        self._swap(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leaves the average as the weights."""
        self._swap(pl_module)
        self._average, self._swapped = {}, False

    def state_dict(self) -> dict[str, Any]:
        """The last step that is averaged."""
        return {"latest_update_step": self._step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The opposite."""
        self._step = state_dict["latest_update_step"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds both sets of weights, also in the middle of a validation, where they have changed places."""
        if not self._average:
            return
        names = {id(each): name for name, each in _numbers(pl_module).items()}
        held = pl_module.state_dict(keep_vars=True)  # tied weights have several names here
        other = {name: self._average[names[id(each)]] for name, each in held.items()}
        if self._swapped:
            checkpoint["current_model_state"] = other
        else:
            checkpoint["current_model_state"], checkpoint["state_dict"] = checkpoint["state_dict"], other
        checkpoint["averaging_state"] = {"n_averaged": torch.tensor(self._n)}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keeps both sets apart to train on; a test or validation keeps the average, which `state_dict` holds."""
        if trainer.state.fn == "fit" and "current_model_state" in checkpoint:
            self._weights = checkpoint["current_model_state"]
            self._n = int(checkpoint["averaging_state"]["n_averaged"])

    @torch.no_grad()
    def _swap(self, pl_module: LightningModule) -> None:
        """The average and the weights change places."""
        for name, each in _numbers(pl_module).items() if self._average else ():
            average, weights = own(self._average[name]), own(each)
            kept = average.clone()
            average.copy_(weights)
            weights.copy_(kept)
        self._swapped = bool(self._average) and not self._swapped


def _numbers(module: LightningModule) -> dict[str, Tensor]:
    """Parameters and buffers, each once."""
    return dict(module.named_parameters()) | dict(module.named_buffers())
