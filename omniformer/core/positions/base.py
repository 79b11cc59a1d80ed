"""What positions to add have in common, and the one that adds nothing."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.ranges import Count, Natural


class Position(nn.Module, ABC):
    """Turns coordinates into vectors that an embedder adds to its tokens.

    A subclass implements `encode`.

    Args:
        d_model: width of the vectors.
        n_axes: number of coordinates of a token.

    Raises:
        ValueError: at first use, the positions have another number of axes.
    """

    def __init__(self, *, d_model: Count, n_axes: Natural = 1) -> None:
        super().__init__()
        checks.counts(d_model=d_model)
        checks.not_negative(n_axes=n_axes)
        self.d_model, self.n_axes = d_model, n_axes

    def forward(self, positions: Tensor) -> Tensor:
        """The vectors to add.

        Shapes:
            `[tokens, axes]` → `[tokens, d_model]`.
        """
        if positions.shape[-1] != self.n_axes:
            raise ValueError(
                f"positions have {positions.shape[-1]} axes, {type(self).__name__} has n_axes={self.n_axes}; "
                f"build it with n_axes={positions.shape[-1]}, or use NoPositions for tokens without coordinates"
            )
        return self.encode(positions)

    @abstractmethod
    def encode(self, positions: Tensor) -> Tensor:
        """The vectors, once it is sure that the number of axes is right."""

    def drawn(self, n: int, generator: torch.Generator) -> Tensor:
        """Random coordinates that there are vectors for, to try a model with: small whole numbers.

        Shapes:
            `[n, axes]`.
        """
        return torch.randint(8, (n, self.n_axes), generator=generator).float()


class NoPositions(Position):
    """Adds nothing: for tokens in no order, or where rotary positions or biases say what is needed.

    Example:
        >>> NoPositions(d_model=2)(torch.ones(1, 1)).tolist()
        [[0.0, 0.0]]
    """

    def forward(self, positions: Tensor) -> Tensor:
        """Zeros for any positions, whatever their number of axes."""
        return self.encode(positions)

    def encode(self, positions: Tensor) -> Tensor:
        return torch.zeros(positions.shape[0], self.d_model, device=positions.device)
