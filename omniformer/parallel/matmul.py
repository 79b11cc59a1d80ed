"""`trainer.matmul_precision`: how precise the products of float32 numbers are in a run."""

from typing import Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

Precision = Literal["highest", "high", "medium"]


class MatmulPrecision(Callback):
    """Sets `torch.set_float32_matmul_precision` for a training, a validation, a test, and puts back what was there.

    What is stored, and every operation that is no product of matrices, stays in float32. On a GPU "high" and "medium"
    are TF32 (10 bits after the leading one, of 23). On a CPU "high" is TF32 and "medium" bfloat16 (7 bits) where its
    instructions compute so (Intel's AMX); on any other, "high" changes nothing, and "medium" has oneDNN compute
    products in full float32, in the place of the BLAS that PyTorch came with: the same but for rounding.

    Args:
        precision: by the names of PyTorch.

    Example:
        >>> around = MatmulPrecision("medium")
        >>> around.setup(None, None, "fit")
        >>> torch.get_float32_matmul_precision()
        'medium'
        >>> around.teardown(None, None, "fit")
        >>> torch.get_float32_matmul_precision()
        'highest'
    """

    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self._before: str | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Before anything is computed."""
        self._before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(self.precision)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Behind all that is."""
        if self._before is not None:
            torch.set_float32_matmul_precision(self._before)
            self._before = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """What is computed in this process later is none of this run's."""
        self.teardown(trainer, pl_module, "")
