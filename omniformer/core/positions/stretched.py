"""A learned grid of positions, stretched over the grid of each picture."""

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.ranges import Count, Positive


class Stretched(nn.Module):
    """A learned vector for each place of a square grid, which is stretched over every picture's own rows and columns:
    linear between places where the picture has more of them, smoothed where it has fewer (antialiased), as SigLIP 2
    reads pictures of any size ([Tschannen et al. 2025](https://arxiv.org/abs/2502.14786), 3.2; [Dehghani et al.
    2023](https://arxiv.org/abs/2307.06304), 2.1).

    Other than `Learned(coordinates="unit")`, it knows the size of the picture, so that it can smooth, and both sides
    are stretched whatever the aspect ratio.

    Args:
        d_model: width of the vectors.
        n_places: places along each of the two axes.
        n_axes: number of coordinates of a token, which must be 2.
        init_std: deviation of the vectors at the start.

    Raises:
        ValueError: there are not two axes.

    Shapes:
        positions `[tokens, 2]` (row, column) and sizes `[tokens, 2]`, rows and columns of the token's picture →
        `[tokens, d_model]`.

    Example:
        >>> import torch
        >>> places, sizes = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 2.0]])
        >>> Stretched(d_model=4, n_places=16)(places, sizes).shape
        torch.Size([1, 4])
    """

    no_weight_decay = ("table",)

    def __init__(self, *, d_model: Count, n_places: Count, n_axes: Count = 2, init_std: Positive = 0.02) -> None:
        super().__init__()
        checks.counts(d_model=d_model, n_places=n_places)
        checks.positive(init_std=init_std)
        if n_axes != 2:
            raise ValueError(f"n_axes={n_axes}: a grid that is stretched over pictures has two, rows and columns")
        self.d_model, self.n_places, self.n_axes, self.init_std = d_model, n_places, n_axes, init_std
        self.table = nn.Parameter(torch.empty(n_places, n_places, d_model))
        self.reset_parameters()

    def forward(self, positions: Tensor, sizes: Tensor) -> Tensor:
        """The vectors to add."""
        rows, columns = self._weights(positions.float(), sizes.float()).to(self.table.dtype).unbind(1)
        return (rows[:, :, None] * columns[:, None, :]).flatten(1) @ self.table.flatten(0, 1)

    def _weights(self, positions: Tensor, sizes: Tensor) -> Tensor:
        """How much each place of the grid counts: a triangle about where the token falls.

        Shapes:
            `[n, 2]` and `[n, 2]` → `[n, 2, n_places]`.
        """
        step = self.n_places / sizes
        centre = (positions + 0.5) * step - 0.5
        away = (torch.arange(self.n_places, device=positions.device) - centre[..., None]).abs()
        weights = (1 - away / step.clamp(min=1)[..., None]).clamp(min=0)
        return weights / weights.sum(-1, keepdim=True)

    def drawn(self, n: int, generator: torch.Generator) -> Tensor:
        """Random coordinates that there are vectors for, to try a model with."""
        return torch.randint(8, (n, 2), generator=generator).float()

    def reset_parameters(self) -> None:
        """Draws the vectors anew."""
        nn.init.normal_(self.table, std=self.init_std)
