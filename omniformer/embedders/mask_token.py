"""A learned vector that stands for what a hidden token says."""

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.ranges import Count, NotNegative


class MaskToken(nn.Module):
    """The mask token of pictures: one learned vector in the place of a hidden patch's map, offset and all, before its
    position is added ([Bao et al. 2021](https://arxiv.org/abs/2106.08254), BEiT, 2.3; [Oquab et al.
    2023](https://arxiv.org/abs/2304.07193), DINOv2). `Maskable` goes around any embedder instead, whose offset stays.

    Args:
        d_model: width of the core.
        init_std: deviation of the vector at the start; 0 as in DINOv2.

    Shapes:
        x `[tokens, d_model]`, masked bool `[tokens]`, True where a token is hidden → `[tokens, d_model]`.

    Example:
        >>> MaskToken(d_model=2)(torch.ones(2, 2), torch.tensor([True, False])).tolist()
        [[0.0, 0.0], [1.0, 1.0]]
    """

    def __init__(self, *, d_model: Count, init_std: NotNegative = 0.0) -> None:
        super().__init__()
        checks.counts(d_model=d_model)
        checks.not_negative(init_std=init_std)
        self.init_std = init_std
        self.vector = nn.Parameter(torch.empty(d_model))
        self.reset_parameters()

    def forward(self, x: Tensor, masked: Tensor | None = None) -> Tensor:
        """The tokens with the vector where they are hidden; as they are where nothing is said of that."""
        if masked is None:
            # The vector still gets a gradient, which is zero.
            return x + self.vector[:0].sum()
        return torch.where(masked[:, None], self.vector.to(x.dtype), x)

    def reset_parameters(self) -> None:
        """Draws the vector anew."""
        nn.init.normal_(self.vector, std=self.init_std)
