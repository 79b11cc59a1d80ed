"""Fixed numbers that stay exact whatever the model's dtype: angles by position, slopes by distance."""

from collections.abc import Callable
from typing import Self

from torch import Tensor, nn


class Frequencies(nn.Module):
    """Fixed float32 numbers that move with a model from device to device but never change dtype.

    `model.to(torch.bfloat16)` would round them, and angles far from the origin with them.

    Args:
        numbers: what one position adds to an angle or a score.

    Example:
        >>> import torch
        >>> Frequencies(torch.tensor([0.1])).to(torch.bfloat16)().item() == torch.tensor(0.1).item()
        True
    """

    def __init__(self, numbers: Tensor) -> None:
        super().__init__()
        self.register_buffer("numbers", numbers.float(), persistent=False)
        self.numbers: Tensor

    def forward(self) -> Tensor:
        """The numbers."""
        return self.numbers

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What `to`, `half` and their like call: what changes the device is done, what changes the dtype is not."""
        kept = self.numbers
        super()._apply(fn, recurse)
        if self.numbers.dtype != kept.dtype:
            self.numbers = kept.to(self.numbers.device)
        return self
