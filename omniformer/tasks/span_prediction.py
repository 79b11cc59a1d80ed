"""Answering by pointing: from which token to which."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from omniformer_tokenizers import Tokenizer
from torch import Tensor
from torchmetrics import MeanMetric, MetricCollection

from omniformer.batch import Batch
from omniformer.core.layout import Layout
from omniformer.core.ranges import NotNegative
from omniformer.core.rules import Rule
from omniformer.heads.span import SpanHead, best_spans
from omniformer.model import OmniFormer
from omniformer.tasks.rows import Row
from omniformer.tasks.task import Step, Task, Watched, mean, target


class SpanPrediction(Task):
    """The first and the last token of an answer that stands in the sample
    ([Devlin et al. 2018](https://arxiv.org/abs/1810.04805), 4.2); reads the target `span`, int64 `[2]`, both counted
    from 0 among all tokens of the sample.

    The loss is the mean of the cross-entropies of start and end, each among the tokens of the sample. Samples without
    tokens, or with -1 as their span, take no part. `exact_match` and `token_f1` compare the best span with the true
    one, as tokens, not as words.

    Args:
        head: scores each token as a start and as an end.
        tokenizers: by modality; where samples are text alone, its own spells out answers in `predictions.jsonl`.
        rule: who may attend to whom.
        loss_weight: factor of this task's loss in a mixture.
    """

    watched = Watched("token_f1", "max")
    targets = ("span",)

    def __init__(
        self,
        *,
        head: SpanHead,
        tokenizers: Mapping[str, Tokenizer] | None = None,
        rule: Rule | None = None,
        loss_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__(head=head, rule=rule, loss_weight=loss_weight)
        self.tokenizers = tokenizers or {}

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        spans = target(batch, "span")
        x, layout = model.encode(batch, name, losses=losses)
        scores = model.heads[name](x, layout).float()
        lengths = layout.lengths.to(spans.device)[:, None]
        counted = (lengths[:, 0] > 0) & (spans != -1).any(1)
        wrong = counted & ~((spans >= 0) & (spans < lengths) & (spans[:, :1] <= spans)).all(1)
        if wrong.any():
            i = int(wrong.nonzero()[0])
            raise ValueError(
                f"sample {batch.ids[i]!r} has the span {spans[i].tolist()} and {int(lengths[i])} tokens; "
                "a span is its first and its last token, counted from 0"
            )
        wanted = spans[counted]
        places = layout.offsets[:-1][counted, None] + wanted
        nats = -log_softmax(scores, layout).gather(0, places)
        return Step(loss=mean(nats, scores), count=len(wanted), outputs=best_spans(scores, layout), targets=spans)

    def count(self, batch: Batch) -> int:
        spans = target(batch, "span")
        return int(((batch.lengths.to(spans.device) > 0) & (spans != -1).any(1)).sum())

    def metrics(self) -> MetricCollection:
        return MetricCollection({"exact_match": MeanMetric(), "token_f1": MeanMetric()}, compute_groups=False)

    def update(self, metrics: MetricCollection, step: Step, batch: Batch) -> None:
        counted = ((step.outputs != -1) & (step.targets != -1)).any(1)
        found, wanted = step.outputs[counted], step.targets[counted]
        metrics["exact_match"].update((found == wanted).all(1).float())
        common = torch.minimum(found[:, 1], wanted[:, 1]) - torch.maximum(found[:, 0], wanted[:, 0]) + 1
        sizes = (found[:, 1] - found[:, 0]) + (wanted[:, 1] - wanted[:, 0]) + 2
        metrics["token_f1"].update(2 * common.clamp(min=0) / sizes)

    def rows(self, head: SpanHead, step: Step, batch: Batch, labels: Sequence[str]) -> Iterable[Row]:
        starts = (batch.lengths.cumsum(0) - batch.lengths).tolist()
        spell = self._speller(batch)
        for sample, start, found, wanted in zip(
            batch.ids, starts, step.outputs.tolist(), step.targets.tolist(), strict=True
        ):
            spans = {key: None if -1 in span else span for key, span in (("target", wanted), ("prediction", found))}
            texts = {f"{key}_text": spell(start, *span) for key, span in spans.items() if span and spell}
            yield {"id": sample, **spans, **texts}

    def _speller(self, batch: Batch) -> Any:
        """What spells out the tokens of a sample from one to another; None where they are no text."""
        part = next(iter(batch.parts.values())) if len(batch.parts) == 1 else None
        tokenizer: Any = None if part is None else self.tokenizers.get(part.modality)
        if part is None or part.values.ndim != 1 or tokenizer is None or tokenizer.modality != "text":
            return None
        ids = part.values.tolist()
        return lambda start, first, last: tokenizer.decode(ids[start + first : start + last + 1]).strip()


def log_softmax(scores: Tensor, layout: Layout) -> Tensor:
    """Logarithms of probabilities among the tokens of each sample, column by column.

    Shapes:
        scores `[tokens, columns]` → the same.

    Example:
        >>> log_softmax(torch.zeros(3, 1), Layout.from_lengths(1, 2)).exp().flatten().tolist()
        [1.0, 0.5, 0.5]
    """
    sample = layout.sample[:, None].expand_as(scores)
    shape = (layout.n_samples, scores.shape[1])
    top = scores.new_full(shape, -torch.inf).scatter_reduce(0, sample, scores.detach(), "amax")
    shifted = scores - top.gather(0, sample)
    total = scores.new_zeros(shape).scatter_add(0, sample, shifted.exp())
    return shifted - total.gather(0, sample).log()
