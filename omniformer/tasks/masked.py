"""Finding hidden tokens from those around them."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanMetric, Metric, MetricCollection

from omniformer.batch import Batch
from omniformer.core.ranges import NotNegative
from omniformer.core.rules import Rule
from omniformer.heads.head import Head
from omniformer.heads.reconstruction import ReconstructionHead
from omniformer.model import OmniFormer
from omniformer.tasks.causal_lm import Perplexity
from omniformer.tasks.task import Step, Task, mean, target


class MaskedIds(Task):
    """Masked modelling of text, pixels or nodes: which id or category each hidden token was
    ([Devlin et al. 2018](https://arxiv.org/abs/1810.04805), 3.1).

    Reads the token targets `mask` and `ids`, which `omniformer.data.masking.Masked` makes; the loss is the mean over
    tokens where `mask` is True.

    Args:
        head: gives logits `[tokens, ids]`, such as `NextTokenHead`, here of the token itself, or `CategoryHead`.
        rule: who may attend to whom; everybody by default.
        loss_weight: factor of this task's loss in a mixture.

    Raises:
        ValueError: the head does not read every token.
    """

    token_targets = ("mask", "ids")

    def __init__(self, *, head: Head, rule: Rule | None = None, loss_weight: NotNegative = 1.0) -> None:
        _need_tokens(head)
        super().__init__(head=head, rule=rule, loss_weight=loss_weight)

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        mask, ids = target(batch, "mask", per_token=True), target(batch, "ids", per_token=True)
        x, layout = model.encode(batch, name, losses=losses)
        hidden = mask.nonzero().flatten()  # once: a device is waited for to learn how many there are
        ids = ids[hidden]
        logits = model.heads[name](x[hidden], layout).float()  # such a head reads each token by itself
        nats = F.cross_entropy(logits, ids, reduction="none")
        return Step(loss=mean(nats, x), count=len(ids), outputs=logits, targets=ids)

    def count(self, batch: Batch) -> int:
        return int(target(batch, "mask", per_token=True).sum())

    def metrics(self) -> MetricCollection:
        return MetricCollection({"perplexity": Perplexity(), "accuracy": MeanMetric()}, compute_groups=False)

    def update(self, metrics: MetricCollection, step: Step, batch: Batch) -> None:
        logits = step.outputs.detach()
        nats = F.cross_entropy(logits, step.targets, reduction="none").double().sum()
        metrics["perplexity"].update(nats=nats, tokens=step.count)
        metrics["accuracy"].update((logits.argmax(-1) == step.targets).float())


class MaskedVectors(Task):
    """Masked modelling of patches and frames: the numbers of each hidden token
    ([He et al. 2021](https://arxiv.org/abs/2111.06377)).

    Reads the token targets `mask` and `values`, which `omniformer.data.masking.Masked` makes; the loss is the squared
    error, averaged over the numbers of tokens where `mask` is True.

    Args:
        head: gives the numbers of each token.
        rule: who may attend to whom; everybody by default.
        normalise: learn each token's numbers less their mean and over their deviation, as that paper recommends, which
            makes patterns count and not brightness.
        loss_weight: factor of this task's loss in a mixture.
    """

    token_targets = ("mask", "values")

    def __init__(
        self,
        *,
        head: ReconstructionHead,
        rule: Rule | None = None,
        normalise: bool = True,
        loss_weight: NotNegative = 1.0,
    ) -> None:
        _need_tokens(head)
        super().__init__(head=head, rule=rule, loss_weight=loss_weight)
        self.normalise = normalise

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        mask, values = target(batch, "mask", per_token=True), target(batch, "values", per_token=True)
        x, layout = model.encode(batch, name, losses=losses)
        hidden = mask.nonzero().flatten()  # once: a device is waited for to learn how many there are
        found, wanted = model.heads[name](x[hidden], layout).float(), values[hidden].float()
        if found.shape != wanted.shape:
            raise ValueError(
                f"the head predicts {found.shape[1]} numbers, tokens of sample {batch.ids[0]!r} have "
                f"{wanted.shape[1]}; set features of the head"
            )
        if self.normalise and len(wanted):
            deviation, centre = torch.std_mean(wanted, dim=1, keepdim=True, correction=0)
            wanted = (wanted - centre) / (deviation**2 + 1e-6).sqrt()  # the paper's constant, for flat patches
        return Step(loss=mean((found - wanted).square(), x), count=len(wanted), outputs=found, targets=wanted)

    def count(self, batch: Batch) -> int:
        return int(target(batch, "mask", per_token=True).sum())

    def metrics(self) -> MetricCollection:
        return MetricCollection({"mse": MeanMetric(), "explained": Explained()}, compute_groups=False)

    def update(self, metrics: MetricCollection, step: Step, batch: Batch) -> None:
        metrics["mse"].update((step.outputs.detach() - step.targets).square())
        metrics["explained"].update(step.outputs.detach(), step.targets)


class Explained(Metric):
    """Which share of the targets' squares is no error: 0 for a model that says 0, 1 for one that is right."""

    full_state_update = False
    higher_is_better = True
    error: Tensor
    whole: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("error", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("whole", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, targets: Tensor) -> None:
        """Adds the squares of a batch."""
        self.error += (predicted - targets).double().square().sum()
        self.whole += targets.double().square().sum()

    def compute(self) -> Tensor:
        """The share so far; NaN where all targets are 0."""
        return torch.where(self.whole > 0, 1 - self.error / self.whole, torch.nan)


def _need_tokens(head: Head) -> None:
    if not head.per_token:
        raise ValueError(
            f"{type(head).__name__} reads samples as wholes; masked modelling needs one that reads every token"
        )
