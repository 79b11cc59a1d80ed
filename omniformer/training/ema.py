"""An exponential moving average of the weights, validated and saved in place of the last ones."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from omniformer.core.ranges import Share


class EMA(WeightAveraging):
    """Averages the weights from the first step on: `average = decay * average + (1 - decay) * weights`.

    Validation, the checkpoints' `state_dict` (so the best checkpoint too) and the finished model hold the average; the
    weights that training goes on with are kept beside it. While few steps were taken, the decay is `(1 + n) / (10 +
    n)`, as TensorFlow's `ExponentialMovingAverage(num_updates=n)` has it: a short run is not held back by its random
    start.

    Args:
        decay: the share of the old average kept at each step; 0.999 remembers about a thousand steps.

    Raises:
        ValueError: the decay is not between 0 and 1.
    """

    def __init__(self, *, decay: Share = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay} is not in [0, 1); 0.999 is usual")
        self.decay = decay
        self._swapped = False
        super().__init__(multi_avg_fn=self._average)

    def _average(self, averages: Any, weights: Any, n_averaged: Tensor | int) -> None:
        n = int(n_averaged)
        get_ema_multi_avg_fn(min(self.decay, (1 + n) / (10 + n)))(averages, weights, n_averaged)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds both sets of weights, also in the middle of a validation, where they have changed places."""
        if not self._swapped:
            super().on_save_checkpoint(trainer, pl_module, checkpoint)
            return
        self._swap_models(pl_module)
        checkpoint["state_dict"] = {name: value.clone() for name, value in pl_module.state_dict().items()}
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        for key in ("state_dict", "averaging_state"):
            checkpoint[key] = {name: value.clone() for name, value in checkpoint[key].items()}
        self._swap_models(pl_module)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Takes both sets apart to train on; a test or validation keeps the average, which `state_dict` holds."""
        if trainer.state.fn == "fit":
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def _swap_models(self, pl_module: LightningModule) -> None:
        super()._swap_models(pl_module)
        self._swapped = not self._swapped
