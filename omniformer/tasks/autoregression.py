"""Pictures and sounds, one value after the other."""

import math
from typing import Any

from torch import Tensor
from torchmetrics import MetricCollection

from omniformer.batch import Batch
from omniformer.core.ranges import BelowOne, NotNegative
from omniformer.core.rules import Rule
from omniformer.heads.next_token import NextTokenHead
from omniformer.tasks.causal_lm import CausalLM, Rate
from omniformer.tasks.task import Step, Watched


class Autoregression(CausalLM):
    """Predicts every value of a picture or a sound from those before it and from what else the sample holds
    ([van den Oord et al. 2016](https://arxiv.org/abs/1601.06759), PixelRNN;
    [van den Oord et al. 2016](https://arxiv.org/abs/1609.03499), WaveNet;
    [Chen et al. 2020](https://openai.com/research/image-gpt), Image GPT).

    The picture or sound is the samples' answer, in ids (`PixelTokenizer`, `ColourTokenizer`, `MuLawTokenizer`). Its
    first value is predicted too, from the start id and what is given, so that the loss is that of the whole.

    Metric: `bits_per_dim`, the mean loss of a value in bits. A value is one channel of a pixel, one pixel with
    `ColourTokenizer`, or one sample of a sound; compare numbers only between equal tokenizers.

    Args:
        head: scores the next id; its `modality` is that of the picture or sound.
        rule: who may attend to whom; causal by default. `Causal() | Prefix()` reads what is given both ways.
        label_smoothing: share of the target spread over all ids, in training only.
        loss_weight: factor of this task's loss in a mixture.
    """

    watched = Watched("bits_per_dim", "min")

    def __init__(
        self,
        *,
        head: NextTokenHead,
        rule: Rule | None = None,
        label_smoothing: BelowOne = 0.0,
        loss_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__(head=head, rule=rule, label_smoothing=label_smoothing, loss_weight=loss_weight)

    def metrics(self) -> MetricCollection:
        return MetricCollection({"bits_per_dim": BitsPerDim()})

    def update(self, metrics: MetricCollection, step: Step, batch: Batch) -> None:
        metrics.update(nats=step.outputs.detach().double().sum(), tokens=step.count)


class BitsPerDim(Rate):
    """Mean loss of a value in bits: what a lossless compressor would need for it."""

    def update(self, nats: Tensor, tokens: int, **kwargs: Any) -> None:
        """Adds the summed loss of a batch and its number of predicted values."""
        self.nats += nats
        self.things += tokens

    def compute(self) -> Tensor:
        """The bits for each value so far."""
        return self.nats / self.things / math.log(2)
