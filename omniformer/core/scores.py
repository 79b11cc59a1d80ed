"""Functions of attention scores, applied before the bias and the softmax."""

from torch import Tensor

from omniformer.core.ranges import Positive


class SoftCap:
    """`cap * tanh(score / cap)`: no score beyond a cap, so that the softmax cannot saturate
    ([Gemma Team 2024](https://arxiv.org/abs/2408.00118), 2).

    Args:
        cap: the bound; 50 as in Gemma 2.

    Raises:
        ValueError: `cap` is not positive.

    Example:
        >>> import torch
        >>> SoftCap(cap=2.0)(torch.tensor([0.0, 100.0])).tolist()
        [0.0, 2.0]
    """

    def __init__(self, *, cap: Positive = 50.0) -> None:
        if cap <= 0:
            raise ValueError(f"cap={cap} must be positive")
        self.cap = cap

    def __call__(self, scores: Tensor) -> Tensor:
        """Caps scores of any shape."""
        return self.cap * (scores / self.cap).tanh()

    def __repr__(self) -> str:
        return f"SoftCap(cap={self.cap})"
