"""How much: one or more numbers for each sample."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.dropout import Dropout
from omniformer.core.init import linear_
from omniformer.core.layout import Layout
from omniformer.core.ranges import BelowOne, Count
from omniformer.heads.head import Head
from omniformer.heads.pooling import MeanPool, width_of


class RegressionHead(Head):
    """Numbers for each sample, learned in units of the training targets' spread, which the data tell (`data/units.py`).

    Args:
        d_model: width of the core.
        n_outputs: number of targets.
        target_mean: mean of each target over the training data, so that the head starts there; 0 by default.
        target_std: deviation of each target over the training data; 1 by default.
        pool: makes the pooling, called with `d_model`; the mean by default.
        dropout: share of pooled features set to zero in training.
        bias: whether each number has an offset; published scorers of texts on top of LLaMA have none.

    Shapes:
        x `[tokens, d_model]` → `[samples, n_outputs]`, in the units of the targets.

    Raises:
        ValueError: there is not one mean and one positive deviation for each output.
    """

    output = "values"
    problem = "regression"
    target_mean: Tensor
    target_std: Tensor

    def __init__(
        self,
        *,
        d_model: Count,
        n_outputs: Count = 1,
        target_mean: Sequence[float] | None = None,
        target_std: Sequence[float] | None = None,
        pool: Callable[..., nn.Module] = MeanPool,
        dropout: BelowOne = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, n_outputs=n_outputs)
        mean = [float(each) for each in target_mean or [0.0] * n_outputs]
        std = [float(each) for each in target_std or [1.0] * n_outputs]
        if len(mean) != n_outputs or len(std) != n_outputs or not all(each > 0 for each in std):
            raise ValueError(
                f"n_outputs={n_outputs} needs as many target_mean {mean} and as many target_std above 0 {std}; data "
                "with several values a sample need task.head.n_outputs of that number"
            )
        # A head without units of its own, as published models have them, has none to save.
        self.register_buffer("target_mean", torch.tensor(mean), persistent=target_mean is not None)
        self.register_buffer("target_std", torch.tensor(std), persistent=target_std is not None)
        self._own_units = target_mean is not None or target_std is not None
        self.pool = pool(d_model=d_model)
        checks.below_one(dropout=dropout)
        self.dropout = Dropout(dropout)
        self.values = nn.Linear(width_of(self.pool, d_model), n_outputs, bias=bias)
        self.n_numbers = n_outputs
        self.reset_parameters()

    @property
    def last_map(self) -> nn.Linear:
        return self.values

    def in_units(self, targets: Tensor) -> Tensor:
        """Targets in the spread of those of training, from their mean."""
        return (targets - self.target_mean) / self.target_std

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """The predicted values of each sample."""
        return self.values(self.dropout(self.pool(x, layout))).float() * self.target_std + self.target_mean

    def predict(self, outputs: Tensor) -> Tensor:
        """The values themselves."""
        return outputs.float()

    def plain(self) -> "RegressionHead":
        """The same function without units of its own, as published models have it: they are folded into the weights.

        Raises:
            ValueError: the head has no offset that could hold the mean.
        """
        if not self._own_units:
            return self
        if self.values.bias is None:
            raise ValueError("a head without bias cannot hold the mean of its targets; train with head.bias=true")
        folded = copy.deepcopy(self)
        for name in ("target_mean", "target_std"):
            unit = float(name == "target_std")
            folded.register_buffer(name, torch.full_like(getattr(self, name), unit), persistent=False)
        with torch.no_grad():
            folded.values.weight.mul_(self.target_std[:, None])
            folded.values.bias.mul_(self.target_std).add_(self.target_mean)
        folded._own_units = False
        return folded

    def reset_parameters(self) -> None:
        """Predicts the training mean at the start."""
        linear_(self.values, 0.0)
