"""A sample as one vector."""

from collections.abc import Callable

from torch import Tensor, nn

from omniformer.core.layout import Layout
from omniformer.heads.head import Head
from omniformer.heads.pooling import MeanPool


class PooledHead(Head):
    """The pooled tokens of each sample as they are, for those who compare samples or go on from them: what BERT without
    a task returns beside its tokens ([Devlin et al. 2018](https://arxiv.org/abs/1810.04805), their published code).

    Args:
        d_model: width of the core.
        pool: makes the pooling, called with `d_model`; the mean by default, BERT has `DenseFirstToken`.

    Shapes:
        x `[tokens, d_model]` → `[samples, d_model]`.

    Example:
        >>> import torch
        >>> PooledHead(d_model=1)(torch.tensor([[1.0], [3.0], [5.0]]), Layout.from_lengths(2, 1)).tolist()
        [[2.0], [5.0]]
    """

    def __init__(self, *, d_model: int, pool: Callable[..., nn.Module] = MeanPool) -> None:
        super().__init__()
        self.pool = pool(d_model=d_model)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """The vector of each sample."""
        return self.pool(x, layout)

    def predict(self, outputs: Tensor) -> Tensor:
        """The vectors themselves."""
        return outputs.float()
