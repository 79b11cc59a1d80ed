"""Classes of nodes learned from few labels: predictions must not depend on what dropout leaves out."""

from dataclasses import replace
from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor

from omniformer.batch import Batch
from omniformer.core import checks
from omniformer.core.ranges import NotNegative
from omniformer.model import OmniFormer
from omniformer.tasks.classification import TokenClassification
from omniformer.tasks.task import Step, mean, target


class ConsistentTokenClassification(TokenClassification):
    """One class for each token, with consistency over tokens without labels
    ([Feng et al. 2020](https://arxiv.org/abs/2005.11079), GRAND, 3.2).

    In training every batch passes through the model `n_views` times, each time with other dropout. The loss is the mean
    cross-entropy of the labelled tokens, plus `consistency` times the mean squared distance of each view's class
    probabilities from their sharpened mean, over all tokens.

    Args:
        n_views: passes a step; the paper uses 4 on Cora.
        consistency: weight of agreement against labels; 1 in the paper.
        temperature: sharpens the mean: each probability to the power of one over it, normalised.
        options: all else, as for `TokenClassification`.

    Raises:
        ValueError: fewer than two views, a negative weight, or a temperature that is not above 0.
    """

    def __init__(
        self,
        *,
        n_views: Annotated[int, Ge(2)] = 2,
        consistency: NotNegative = 1.0,
        temperature: NotNegative = 0.5,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if n_views < 2 or temperature <= 0:
            raise ValueError(f"n_views={n_views} must be at least 2 and temperature={temperature} above 0")
        checks.not_negative(consistency=consistency)
        self.n_views = n_views
        self.consistency = consistency
        self.temperature = temperature

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        if not model.training:
            return super().step(model, batch, name, losses)
        labels, mask = target(batch, "label", per_token=True), target(batch, "mask", per_token=True)
        views = [model(batch, name, losses=losses if i == 0 else None) for i in range(self.n_views)]
        compared = [self._compare(model, view, labels, mask) for view in views]
        supervised = torch.stack([step.loss for step in compared]).mean()
        probabilities = torch.stack([view.float().softmax(-1) for view in views])
        sharp = probabilities.detach().mean(0) ** (1 / self.temperature)
        sharp = sharp / sharp.sum(-1, keepdim=True)
        distance = mean((probabilities - sharp).square().sum(-1), probabilities)
        return replace(compared[0], loss=supervised + self.consistency * distance)
