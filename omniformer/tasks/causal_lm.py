"""Predicting every token from those before it."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from omniformer.batch import Batch
from omniformer.core import checks
from omniformer.core.ranges import BelowOne, NotNegative
from omniformer.core.rules import Causal, Rule
from omniformer.heads.next_token import NextTokenHead
from omniformer.model import OmniFormer
from omniformer.tasks.task import Step, Task, Watched, mean


class CausalLM(Task[NextTokenHead]):
    """Next-token prediction for one modality of ids ([Radford et al. 2018](https://openai.com/research/language-unsupervised)).

    Every token but the first of a sample is predicted from all before it, tokens of other modalities included. Where
    samples have an answer, only its tokens are predicted, from what is given and from those before. Where they have the
    token target `mask`, only its tokens are predicted. Where they carry the target `bytes`, the number of bytes that
    their predicted tokens stand for, the loss is also reported in bits for each byte, which does not depend on the
    vocabulary.

    Args:
        head: scores the next id.
        rule: who may attend to whom; causal by default. It must not let a token see the ones after it.
        label_smoothing: share of the target spread over all ids, in training only, so that reported losses compare
            ([Szegedy et al. 2015](https://arxiv.org/abs/1512.00567)).
        loss_weight: factor of this task's loss in a mixture.
        counts_bytes: whether samples carry that target; the bits for each byte are the main metric then, else the loss.

    Raises:
        ValueError: `label_smoothing` is no share below 1.
    """

    def __init__(
        self,
        *,
        head: NextTokenHead,
        rule: Rule | None = None,
        label_smoothing: BelowOne = 0.0,
        loss_weight: NotNegative = 1.0,
        counts_bytes: bool = False,
    ) -> None:
        super().__init__(head=head, rule=Causal() if rule is None else rule, loss_weight=loss_weight)
        if counts_bytes:
            self.watched = Watched("bits_per_byte", "min")
        checks.below_one(label_smoothing=label_smoothing)
        self.modality = head.modality
        self.label_smoothing = label_smoothing

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        x, found = self.found(model, batch, name, losses)
        nats = self._nats(model, name, x, found)
        return Step(loss=mean(nats, x), count=len(nats), outputs=nats, targets=found.ids[found.chosen])

    def _nats(self, model: OmniFormer, name: str, x: Tensor, found: "Found") -> Tensor:
        """The loss of each predicted token."""
        smoothing = self.label_smoothing if model.training else 0.0
        before, targets = x[found.places[found.chosen] - 1], found.ids[found.chosen]
        return self.head_of(model, name).losses(before, targets, label_smoothing=smoothing)

    def found(
        self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, "Found"]:
        """What the core gives, `[tokens, d_model]`, and which tokens are predicted.

        Raises:
            ValueError: the samples have no tokens of the modality that is predicted.
        """
        read = model.encode if batch.answer is None else model.decode
        x, layout = read(batch, name, losses=losses)
        sequence = batch if batch.answer is None else batch.answer
        if self.modality not in sequence.parts:
            raise ValueError(
                f"sample {batch.ids[0]!r} has no tokens of {self.modality!r} to predict, only {sorted(sequence.parts)}"
            )
        places, ids = sequence.places[self.modality], sequence.parts[self.modality].values
        predicted = layout.index[places] > 0
        if "mask" in sequence.token_targets:
            predicted = predicted & sequence.token_targets["mask"][places]
        chosen = predicted.nonzero().flatten()  # once: a device is waited for to learn how many there are
        return x, Found(ids=ids, places=places, sample=layout.sample[places], predicted=predicted, chosen=chosen)

    def count(self, batch: Batch) -> int:
        sequence = batch if batch.answer is None else batch.answer
        if self.modality not in sequence.parts:
            return 0
        places = sequence.places[self.modality]
        begin = (sequence.lengths.cumsum(0) - sequence.lengths)[sequence.lengths > 0].to(places.device)
        predicted = ~torch.isin(places, begin)
        if "mask" in sequence.token_targets:
            predicted = predicted & sequence.token_targets["mask"][places]
        return int(predicted.sum())

    def metrics(self) -> MetricCollection:
        # No groups: rates whose counts happen to be equal in the first batch would be taken for one for ever.
        return MetricCollection({"perplexity": Perplexity(), "bits_per_byte": BitsPerByte()}, compute_groups=False)

    def update(self, metrics: MetricCollection, step: Step, batch: Batch) -> None:
        nats = step.outputs.detach().double().sum()
        n_bytes = batch.targets.get("bytes", torch.zeros(0)).sum()
        for metric in metrics.values():
            if isinstance(metric, Rate):
                metric.update(nats=nats, tokens=step.count, bytes_=n_bytes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """The tokens of one modality in a batch, and which of them are predicted from what stands before them.

    Args:
        ids: of all tokens of the modality.
        places: where they stand among the tokens of all modalities.
        sample: whose they are.
        predicted: whether each is predicted.
        chosen: the numbers of those that are.

    Shapes:
        int64 `[tokens]` each, bool `[tokens]`; chosen int64 `[predicted tokens]`.
    """

    ids: Tensor
    places: Tensor
    sample: Tensor
    predicted: Tensor
    chosen: Tensor


class Rate(Metric):
    """A sum of nats over a sum of things, both over all ranks; a subclass says of which things, and in which unit.

    `update` takes the summed loss of a batch (`nats`), its number of predicted `tokens`, and the bytes they stand for.
    """

    full_state_update = False
    higher_is_better = False
    nats: Tensor
    things: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("nats", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("things", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")


class Perplexity(Rate):
    """`exp` of the mean loss of a token."""

    def update(self, nats: Tensor, tokens: int, **kwargs: Any) -> None:
        """Adds the summed loss of a batch and its number of predicted tokens."""
        self.nats += nats
        self.things += tokens

    def compute(self) -> Tensor:
        """The perplexity of all tokens so far."""
        return (self.nats / self.things).exp()


class BitsPerByte(Rate):
    """Loss in bits for each byte of the text: what a compressor would need. NaN where the data does not count bytes."""

    def update(self, nats: Tensor, bytes_: Tensor, **kwargs: Any) -> None:
        """Adds the summed loss of a batch and the number of bytes that its tokens stand for."""
        self.nats += nats
        self.things += bytes_

    def compute(self) -> Tensor:
        """The bits for each byte so far."""
        return torch.where(self.things > 0, self.nats / self.things / math.log(2), torch.nan)
