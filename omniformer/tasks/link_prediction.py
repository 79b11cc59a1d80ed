"""Finding edges of a graph that were taken out."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision

from omniformer.batch import Batch
from omniformer.core.ranges import NotNegative
from omniformer.core.rules import Rule
from omniformer.heads.link import LinkHead
from omniformer.model import OmniFormer
from omniformer.tasks.rows import Row, number
from omniformer.tasks.task import Step, Task, Watched, mean

LINKS = "links"


class LinkPrediction(Task[LinkHead]):
    """Whether two nodes are joined, for pairs of which half are ([Kipf and Welling 2016](https://arxiv.org/abs/1611.07308)).

    Reads the answer `links`, which `omniformer.data.held_out_edges.HeldOutEdges` makes; the loss is the binary
    cross-entropy of a pair. Samples without pairs take no part.

    Args:
        head: scores pairs of tokens.
        rule: who may attend to whom. Along edges, a rule sees the graph without those that are asked for.
        loss_weight: factor of this task's loss in a mixture.
    """

    watched = Watched("auroc", "max")
    needs_answer = True

    def __init__(self, *, head: LinkHead, rule: Rule | None = None, loss_weight: NotNegative = 1.0) -> None:
        super().__init__(head=head, rule=rule, loss_weight=loss_weight)

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        if batch.answer is None or LINKS not in batch.answer.parts:
            raise ValueError(
                f"sample {batch.ids[0]!r} has no answer {LINKS!r}; take edges out of its graph with "
                "arrange: omniformer.data.held_out_edges.HeldOutEdges"
            )
        links = batch.answer.parts[LINKS].values
        x, layout = model.encode(batch, name, losses=losses)
        counts = batch.answer.counts[LINKS].to(links.device)
        start = torch.repeat_interleave(layout.offsets[:-1], counts, output_size=len(links))
        head = self.head_of(model, name)
        logits = head.scores(head(x, layout), links[:, :2] + start[:, None])
        joined = links[:, 2]
        nats = F.binary_cross_entropy_with_logits(logits, joined.float(), reduction="none")
        return Step(loss=mean(nats, x), count=len(links), outputs=logits, targets=joined)

    def count(self, batch: Batch) -> int:
        return 0 if batch.answer is None or LINKS not in batch.answer.parts else len(batch.answer.parts[LINKS].values)

    def metrics(self) -> MetricCollection:
        return MetricCollection({"auroc": BinaryAUROC(), "average_precision": BinaryAveragePrecision()})

    def update(self, metrics: MetricCollection, step: Step, batch: Batch) -> None:
        metrics.update(step.outputs.detach().sigmoid(), step.targets)

    def rows(self, head: LinkHead, step: Step, batch: Batch, labels: Sequence[str]) -> Iterable[Row]:
        assert batch.answer is not None  # or there was no step
        counts = batch.answer.counts[LINKS].tolist()
        asked = (batch.answer.parts[LINKS].values, step.outputs.sigmoid())
        for sample, pairs, scores in zip(batch.ids, *(each.cpu().split(counts) for each in asked), strict=True):
            yield {
                "id": sample,
                "pairs": pairs[:, :2].tolist(),
                "target": pairs[:, 2].bool().tolist(),
                "prediction": (scores >= 0.5).tolist(),
                "scores": [number(each) for each in scores.tolist()],
            }
