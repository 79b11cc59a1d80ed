"""Residual connections: how a branch (attention or feed-forward) joins the stream of tokens."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.attention.multihead import Context
from omniformer.core.dropout import Dropout
from omniformer.core.init import linear_
from omniformer.core.ranges import BelowOne, Count, NotNegative


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

    Example:
        >>> from omniformer.core.transformer import Transformer
        >>> type(Transformer(d_model=8, n_layers=1, n_heads=2, connection=PreNorm).blocks[0].attention).__name__
        'PreNorm'
    """

    def __init__(
        self,
        branch: nn.Module,
        *,
        d_model: Count,
        norm: Callable[[int], nn.Module],
        dropout: BelowOne = 0.0,
        stochastic_depth: BelowOne = 0.0,
    ) -> None:
        super().__init__()
        self.norm = norm(d_model)
        self.branch = branch
        checks.below_one(dropout=dropout, stochastic_depth=stochastic_depth)
        self.dropout = Dropout(dropout)
        self.stochastic_depth = stochastic_depth

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Adds the branch to the tokens `[tokens, d_model]`."""
        return x + self.update(x, context)

    def update(self, x: Tensor, context: Context) -> Tensor:
        """What is added to the tokens."""
        update = self.branch(self.norm(x), context)
        return self.dropped(update, context) if self.training else update

    def dropped(self, update: Tensor, context: Context) -> Tensor:
        """The update after dropout and stochastic depth; whole samples skip it together."""
        if not self.training:
            return update
        update = self.dropout(update)
        if not self.stochastic_depth:
            return update
        layout = context.plan.layout
        kept = torch.rand(layout.n_samples, 1, device=update.device) >= self.stochastic_depth
        return update * kept.to(update.dtype)[layout.sample] / (1 - self.stochastic_depth)


class PostNorm(PreNorm):
    """`norm(x + branch(x))`, as in the first transformer ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762),
    3.1).

    Arguments as for `PreNorm`.
    """

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.norm(x + self.dropped(self.branch(x, context), context))

    def update(self, x: Tensor, context: Context) -> Tensor:
        """What the tokens differ by afterwards."""
        return self.forward(x, context) - x


class BranchNorm(PreNorm):
    """`x + norm(branch(x))`: what is added is normalised, what is read is not
    ([Liu et al. 2021](https://arxiv.org/abs/2111.09883), Swin V2, 3.2; [OLMo et al.
    2024](https://arxiv.org/abs/2501.00656), 3.1).

    Arguments as for `PreNorm`.
    """

    def update(self, x: Tensor, context: Context) -> Tensor:
        return self.dropped(self.norm(self.branch(x, context)), context)


class ScaledBranch(PreNorm):
    """`x + scale * branch(norm(x))` with a fixed scale, as in Granite, where it is tuned on small models
    ([Yang et al. 2022](https://arxiv.org/abs/2203.03466)).

    Args:
        scale: of what is added.
        branch: as for `PreNorm`, like the other arguments.
    """

    def __init__(self, branch: nn.Module, *, scale: float = 1.0, **options: Any) -> None:
        super().__init__(branch, **options)
        self.scale = scale

    def update(self, x: Tensor, context: Context) -> Tensor:
        return self.scale * self.dropped(self.branch(self.norm(x), context), context)


class SandwichNorm(PreNorm):
    """`x + norm_out(branch(norm(x)))` ([Ding et al. 2021](https://arxiv.org/abs/2105.13290), 2.4).

    Arguments as for `PreNorm`.
    """

    def __init__(self, branch: nn.Module, *, d_model: Count, norm: Callable[[int], nn.Module], **options: Any) -> None:
        super().__init__(branch, d_model=d_model, norm=norm, **options)
        self.norm_out = norm(d_model)

    def update(self, x: Tensor, context: Context) -> Tensor:
        return self.dropped(self.norm_out(self.branch(self.norm(x), context)), context)


class LayerScale(PreNorm):
    """`x + gain * branch(norm(x))` with a learned gain for each feature that begins near zero
    ([Touvron et al. 2021](https://arxiv.org/abs/2103.17239), CaiT).

    Args:
        initial_gain: the gain at the start; 1e-4 as in the paper for depths of 24 and more.
        branch: as for `PreNorm`, like the other arguments.
    """

    def __init__(self, branch: nn.Module, *, d_model: Count, initial_gain: NotNegative = 1e-4, **options: Any) -> None:
        super().__init__(branch, d_model=d_model, **options)
        checks.not_negative(initial_gain=initial_gain)
        self.initial_gain = initial_gain
        self.gain = nn.Parameter(torch.full((d_model,), initial_gain))

    def update(self, x: Tensor, context: Context) -> Tensor:
        return self.dropped(self.gain.to(x.dtype) * self.branch(self.norm(x), context), context)

    def reset_parameters(self) -> None:
        """Sets the gain to where it began."""
        nn.init.constant_(self.gain, self.initial_gain)


class TanhGate(PreNorm):
    """`x + tanh(gate) * branch(norm(x))` with one learned gate that begins at zero, so that a trained model into which
    the branch is put says at first exactly what it said before ([Alayrac et al.
    2022](https://arxiv.org/abs/2204.14198), Flamingo, 3.2).

    Arguments as for `PreNorm`.
    """

    def __init__(self, branch: nn.Module, **options: Any) -> None:
        super().__init__(branch, **options)
        self.gate = nn.Parameter(torch.zeros(()))

    def update(self, x: Tensor, context: Context) -> Tensor:
        return self.dropped(self.gate.tanh().to(x.dtype) * self.branch(self.norm(x), context), context)

    def reset_parameters(self) -> None:
        """Shuts the gate."""
        nn.init.zeros_(self.gate)


class AdaptiveNorm(PreNorm):
    """`x + gate(c) * branch(norm(x) * (1 + scale(c)) + shift(c))` with a vector c for each sample
    ([Peebles and Xie 2022](https://arxiv.org/abs/2212.09748), adaLN-Zero).

    Scale, shift and gate are one linear map of `silu(c)` that begins at zero: every block begins as the identity.

    Args:
        d_condition: width of the vector that comes with each sample.
        branch: as for `PreNorm`, like the other arguments. The paper's norm learns neither gain nor offset.

    Raises:
        ValueError: at first use, when the core was called without `condition`, or with another width.

    Example:
        >>> from functools import partial
        >>> from omniformer.core.layout import Layout
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=8, n_layers=1, n_heads=2, connection=partial(AdaptiveNorm, d_condition=3))
        >>> core(torch.randn(5, 8), Layout.from_lengths(2, 3), condition=torch.randn(2, 3)).shape
        torch.Size([5, 8])
    """

    not_exported = "it is steered by a condition, which no exported program takes"

    def __init__(self, branch: nn.Module, *, d_model: Count, d_condition: Count, **options: Any) -> None:
        super().__init__(branch, d_model=d_model, **options)
        checks.counts(d_condition=d_condition)
        self.modulation = nn.Linear(d_condition, 3 * d_model)
        self.reset_parameters()

    def update(self, x: Tensor, context: Context) -> Tensor:
        """What is added to the tokens, steered by the condition of their sample."""
        shift, scale, gate = self._modulate(context)
        return self.dropped(gate * self.branch(self.norm(x) * (1 + scale) + shift, context), context)

    def _modulate(self, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        condition, wanted = context.condition, self.modulation.in_features
        if condition is None:
            raise ValueError(f"AdaptiveNorm needs a condition; call the core with condition [samples, {wanted}]")
        if condition.shape[-1] != wanted:
            raise ValueError(
                f"condition has {condition.shape[-1]} features, AdaptiveNorm was built with d_condition={wanted}"
            )
        # Mapped sample by sample, then handed to the tokens: a sample has many tokens and one condition.
        shift, scale, gate = self.modulation(F.silu(condition))[context.plan.layout.sample].chunk(3, dim=-1)
        return shift, scale, gate

    def reset_parameters(self) -> None:
        """Sets the map of the condition to zero."""
        linear_(self.modulation, 0.0)
