"""Predicting every token from those before it."""

import math
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from omniformer.batch import Batch
from omniformer.core.rules import Causal, Rule
from omniformer.heads.next_token import NextTokenHead
from omniformer.model import OmniFormer
from omniformer.tasks.task import Step, Task


class CausalLM(Task):
    """Next-token prediction for one modality of ids ([Radford et al. 2018](https://openai.com/research/language-unsupervised)).

    Every token but the first of a sample is predicted from all before it, tokens of other modalities included. Where
    samples have the token target `mask`, only its tokens are predicted. Where they carry the target `bytes`, the number
    of bytes that their predicted tokens stand for, the loss is also reported in bits for each byte, which does not
    depend on the vocabulary.

    Args:
        head: scores the next id.
        rule: who may attend to whom; causal by default. It must not let a token see the ones after it.
        loss_weight: factor of this task's loss in a mixture.
    """

    def __init__(self, *, head: NextTokenHead, rule: Rule | None = None, loss_weight: float = 1.0) -> None:
        super().__init__(head=head, rule=Causal() if rule is None else rule, loss_weight=loss_weight)
        self.modality = head.modality

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        x, layout = model.encode(batch, name, losses=losses)
        places, ids = batch.places[self.modality], batch.parts[self.modality].values
        predicted = layout.index[places] > 0
        if "mask" in batch.token_targets:
            predicted = predicted & batch.token_targets["mask"][places]
        head = model.heads[name]
        assert isinstance(head, NextTokenHead)
        targets = ids[predicted]
        nats = head.losses(x[places[predicted] - 1], targets)
        return Step(loss=nats.mean(), count=len(targets), outputs=nats, targets=targets)

    def metrics(self) -> MetricCollection:
        return MetricCollection({"perplexity": Perplexity(), "bits_per_byte": BitsPerByte()})

    def update(self, metrics: MetricCollection, step: Step, batch: Batch) -> None:
        nats = step.outputs.detach().double().sum()
        metrics.update(nats=nats, tokens=step.count, bytes_=batch.targets.get("bytes", torch.zeros(0)).sum())


class _Rate(Metric):
    """A sum of nats over a sum of things, both over all ranks."""

    full_state_update = False
    nats: Tensor
    things: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("nats", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("things", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")


class Perplexity(_Rate):
    """`exp` of the mean loss of a token."""

    def update(self, nats: Tensor, tokens: int, **kwargs: Any) -> None:
        """Adds the summed loss of a batch and its number of predicted tokens."""
        self.nats += nats
        self.things += tokens

    def compute(self) -> Tensor:
        """The perplexity of all tokens so far."""
        return (self.nats / self.things).exp()


class BitsPerByte(_Rate):
    """Loss in bits for each byte of the text: what a compressor would need. NaN where the data does not count bytes."""

    def update(self, nats: Tensor, bytes_: Tensor, **kwargs: Any) -> None:
        """Adds the summed loss of a batch and the number of bytes that its tokens stand for."""
        self.nats += nats
        self.things += bytes_

    def compute(self) -> Tensor:
        """The bits for each byte so far."""
        return self.nats / self.things / math.log(2)
