"""Residual connections, and the block that is made of two of them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from omniformer.core.attention.multihead import Context


class PreNorm(nn.Module):
    """`x + branch(norm(x))`: the residual stream stays untouched from end to end
    ([Xiong et al. 2020](https://arxiv.org/abs/2002.04745)).

    Args:
        branch: what to add, called with the normalised tokens and the context.
        d_model: width of the residual stream.
        norm: makes the norm.
        dropout: share of the branch's output set to zero in training.
        stochastic_depth: chance in training that a sample skips the branch
            ([Huang et al. 2016](https://arxiv.org/abs/1603.09382)).
    """

    def __init__(
        self,
        branch: nn.Module,
        *,
        d_model: int,
        norm: Callable[[int], nn.Module],
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm = norm(d_model)
        self.branch = branch
        self.dropout = nn.Dropout(dropout)
        self.stochastic_depth = stochastic_depth

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Adds the branch to the tokens `[tokens, d_model]`."""
        return x + self.dropped(self.branch(self.norm(x), context), context)

    def dropped(self, update: Tensor, context: Context) -> Tensor:
        """The update after dropout and stochastic depth; whole samples skip it together."""
        update = self.dropout(update)
        if not (self.training and self.stochastic_depth):
            return update
        layout = context.plan.layout
        kept = torch.rand(layout.n_samples, 1, device=update.device) >= self.stochastic_depth
        return update * kept.to(update.dtype)[layout.sample] / (1 - self.stochastic_depth)


class PostNorm(PreNorm):
    """`norm(x + branch(x))`, as in the first transformer ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), 3.1).

    Arguments as for `PreNorm`.
    """

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Adds the branch to the tokens `[tokens, d_model]` and normalises the sum."""
        return self.norm(x + self.dropped(self.branch(x, context), context))


class SandwichNorm(PreNorm):
    """`x + norm_out(branch(norm(x)))` ([Ding et al. 2021](https://arxiv.org/abs/2105.13290), 2.4).

    Arguments as for `PreNorm`.
    """

    def __init__(
        self,
        branch: nn.Module,
        *,
        d_model: int,
        norm: Callable[[int], nn.Module],
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__(branch, d_model=d_model, norm=norm, dropout=dropout, stochastic_depth=stochastic_depth)
        self.norm_out = norm(d_model)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Adds the normalised branch to the tokens `[tokens, d_model]`."""
        return x + self.dropped(self.norm_out(self.branch(self.norm(x), context)), context)


class Block(nn.Module):
    """One layer of a transformer: tokens talk to each other, then each thinks by itself.

        x ──┬── attention ──(+)──┬── feedforward ──(+)── x
            └────────────────┘   └─────────────────┘

    Args:
        attention: the first residual connection.
        feedforward: the second.
    """

    def __init__(self, *, attention: nn.Module, feedforward: nn.Module) -> None:
        super().__init__()
        self.attention = attention
        self.feedforward = feedforward

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Passes tokens `[tokens, d_model]` through both connections."""
        x = self.attention(x, context)
        return self.feedforward(x, context)
