"""Predicting several tokens at once from those before them."""

from typing import Any

import torch
from torch import Tensor

from omniformer.batch import Batch
from omniformer.core import checks
from omniformer.core.ranges import NotNegative
from omniformer.heads.multi_token import MultiTokenHead
from omniformer.model import OmniFormer
from omniformer.tasks.causal_lm import CausalLM, Found
from omniformer.tasks.task import Step, mean


class MultiTokenPrediction(CausalLM):
    """`CausalLM` that in training also learns what stands behind the next token, each place from the same token
    ([Gloeckle et al. 2024](https://arxiv.org/abs/2404.19737), 2). Only tokens that are predicted themselves count, of
    the same sample and without others between them; validation and test report the loss of the next token alone.

    Args:
        head: scores the next id, and those of some places behind it.
        further_weight: factor of the mean loss of the further places; 1 counts all of them together as the next one.
        **options: those of `CausalLM`.
    """

    head_type = MultiTokenHead

    def __init__(self, *, head: MultiTokenHead, further_weight: NotNegative = 1.0, **options: Any) -> None:
        super().__init__(head=head, **options)
        checks.not_negative(further_weight=further_weight)
        self.further_weight = further_weight

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        x, found = self.found(model, batch, name, losses)
        nats = self._nats(model, name, x, found)
        loss = nats + self.further_weight * self.further(model, name, x, found) if model.training else nats
        return Step(loss=mean(loss, x), count=len(nats), outputs=nats, targets=found.ids[found.chosen])

    def further(self, model: OmniFormer, name: str, x: Tensor, found: Found) -> Tensor:
        """The mean loss of the further places, for each predicted token; of places that are not there it is 0.

        Shapes:
            x `[tokens, d_model]` → `[predicted tokens]`.
        """
        head: Any = self.head_of(model, name)
        before, n = x[found.places[found.chosen] - 1], head.n_further
        total = before.new_zeros(len(before), dtype=torch.float32)
        for place in range(1, n + 1):
            behind = (found.chosen + place).clamp(max=max(len(found.ids) - 1, 0))
            there = found.predicted[behind] & (found.sample[behind] == found.sample[found.chosen])
            there &= found.places[behind] == found.places[found.chosen] + place
            rows = there.nonzero().flatten()
            nats = head.further_losses(before[rows], found.ids[behind[rows]], place)
            total = total.index_add(0, rows, nats / n)
        return total
