"""Fixed numbers that stay exact whatever the model's dtype: angles by position, slopes by distance."""

import torch
from torch import Tensor, nn


class Frequencies(nn.Module):
    """Fixed float32 numbers that move with a model from device to device but never change dtype.

    `model.to(torch.bfloat16)` would round a float buffer, and angles far from the origin with it; the bits of the
    numbers, held as integers, are left alone.

    Args:
        numbers: what one position adds to an angle or a score.

    Example:
        >>> Frequencies(torch.tensor([0.1])).to(torch.bfloat16)().item() == torch.tensor(0.1).item()
        True
    """

    def __init__(self, numbers: Tensor) -> None:
        super().__init__()
        self.register_buffer("bits", numbers.float().view(torch.int32), persistent=False)
        self.bits: Tensor

    def forward(self) -> Tensor:
        """The numbers."""
        return self.bits.view(torch.float32)
