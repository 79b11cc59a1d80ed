"""The contract every head keeps."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from omniformer.core.layout import Layout


class Head(nn.Module, ABC):
    """Turns the core's output into predictions.

    `forward` gives raw outputs (logits), which a task's loss reads; `predict` turns them into what people read.
    """

    per_token: ClassVar[bool] = False
    """Whether the outputs have one row for each token; else one for each sample."""

    @abstractmethod
    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Raw outputs.

        Shapes:
            x `[tokens, d_model]` → `[samples or tokens, outputs]`.
        """

    @abstractmethod
    def predict(self, outputs: Tensor) -> Tensor:
        """Outputs as people read them: probabilities, or values in the units of the target."""
