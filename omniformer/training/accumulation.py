"""Gradients of several micro-batches that make one step: kept in checkpoints."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from omniformer.parallel.tensors import like

_KEY = "accumulated_gradients"


class KeepGradients(Callback):
    """Puts gradients that still wait for their optimizer step into the checkpoint, and takes them out again.

    Needed only where a checkpoint falls between two batches of one accumulated step, as a validation there can cause.
    On several ranks the mean over ranks is kept: the step that follows averages over ranks anyway.
    """

    def __init__(self) -> None:
        self._restored: dict[str, torch.Tensor] = {}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the gradients, if a step is half accumulated."""
        if trainer.state.fn != "fit" or not (trainer.training or trainer.validating):
            return
        if trainer.fit_loop._should_accumulate():
            named = {name: p.grad for name, p in pl_module.named_parameters() if p.grad is not None}
            checkpoint[_KEY] = {
                name: trainer.strategy.reduce(grad.clone(), reduce_op="mean") for name, grad in named.items()
            }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keeps them until the model stands on its device."""
        self._restored = checkpoint.get(_KEY, {})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives them back to the parameters."""
        for name, parameter in pl_module.named_parameters():
            if name in self._restored:
                parameter.grad = like(self._restored[name].to(parameter.device, parameter.dtype), parameter)
        self._restored = {}
