"""Writing what frames say, without knowing which frame says what."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from omniformer_tokenizers import Tokenizer, Tokens
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.text import CharErrorRate, WordErrorRate

from omniformer.batch import Batch
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count, NotNegative
from omniformer.core.rules import Rule
from omniformer.generation.ctc import best_path, prefix_beam
from omniformer.heads.ctc import CTCHead
from omniformer.model import OmniFormer
from omniformer.tasks.task import Stage, Step, Task, Watched, mean


class CTC(Task[CTCHead]):
    """Connectionist temporal classification: the answer's ids in their order, each from some frame
    ([Graves et al. 2006](https://doi.org/10.1145/1143844.1143891)).

    All tokens of a sample's contents are its frames. The loss is the negative log-probability of the answer, the ids
    with which it begins and ends left out; the mean over samples, not divided by lengths. Samples without frames take
    no part in it, and their text is empty. In validation and test the model's texts are compared with the answers, by
    words and by characters.

    Args:
        head: scores ids and blank for each frame.
        tokenizers: by modality; that of the answer turns ids into text.
        rule: who may attend to whom.
        modality: of the answer.
        beam: how many beginnings the search for the text keeps; 1 takes the best id of each frame.
        loss_weight: factor of this task's loss in a mixture.

    Raises:
        ValueError: there is no tokenizer for the answer, or `beam` is below 1.
    """

    watched = Watched("wer", "min")
    needs_answer = True

    def __init__(
        self,
        *,
        head: CTCHead,
        tokenizers: Mapping[str, Tokenizer],
        rule: Rule | None = None,
        modality: str = "text",
        beam: Count = 1,
        loss_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__(head=head, rule=rule, loss_weight=loss_weight)
        if modality not in tokenizers:
            raise ValueError(f"no tokenizer for answers of modality {modality!r}, only for {sorted(tokenizers)}")
        if beam < 1:
            raise ValueError(f"beam={beam} must be at least 1")
        self.tokenizer = tokenizers[modality]
        self.modality = modality
        self.beam, self.blank = beam, head.blank

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        return self._step(model, batch, name, losses)[0]

    def count(self, batch: Batch) -> int:
        return int((batch.lengths > 0).sum())

    def measure(self, model: OmniFormer, batch: Batch, name: str, stage: Stage) -> Step:
        step, layout = self._step(model, batch, name)
        frames = step.outputs.detach().split(layout.lengths.tolist())
        written = [self._decode(frame) for frame in frames]
        expected = [row.tolist() for row in self._labels(batch)]
        return replace(step, written=tuple(map(self._text, written)), expected=tuple(map(self._text, expected)))

    def metrics(self) -> MetricCollection:
        return MetricCollection({"wer": WordErrorRate(), "cer": CharErrorRate()})

    def update(self, metrics: MetricCollection, step: Step, batch: Batch) -> None:
        if step.written:
            metrics.update(list(step.written), list(step.expected))

    def _step(
        self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None
    ) -> tuple[Step, Layout]:
        labels = self._labels(batch)
        x, layout = model.encode(batch, name, losses=losses)
        head = self.head_of(model, name)
        log_probs = head(x, layout).float().log_softmax(-1)
        heard = layout.lengths > 0
        chosen = [row for row, frame in zip(labels, heard.tolist(), strict=True) if frame]
        targets = torch.cat(chosen) if chosen else torch.zeros(0, dtype=torch.long)
        if not chosen:
            return Step(loss=mean(log_probs[:0], log_probs), count=0, outputs=log_probs, targets=targets), layout
        self._check(batch, labels, layout.lengths.tolist())
        # PyTorch's loss knows padded frames only; what lies behind a sample's end is not read.
        padded = layout.pad(log_probs)[heard.to(log_probs.device)].transpose(0, 1)
        nats = F.ctc_loss(
            padded,
            targets.to(log_probs.device),
            input_lengths=layout.lengths[heard],
            target_lengths=torch.tensor([len(row) for row in chosen]),
            blank=head.blank,
            reduction="none",
        )
        return Step(loss=mean(nats), count=len(nats), outputs=log_probs, targets=targets), layout

    def _labels(self, batch: Batch) -> list[Tensor]:
        """The ids of each answer, without those that begin and end it."""
        if batch.answer is None or self.modality not in batch.answer.parts:
            named = ", ".join(map(repr, batch.ids[:3]))
            raise ValueError(
                f"samples {named} have no answer of modality {self.modality!r}; this task learns to write one"
            )
        ids = batch.answer.parts[self.modality].values.cpu()
        return [row[1:-1] for row in ids.split(batch.answer.counts[self.modality].tolist())]

    def _check(self, batch: Batch, labels: list[Tensor], frames: list[int]) -> None:
        """Refuses answers that no path through the frames can spell."""
        for sample, row, n in zip(batch.ids, labels, frames, strict=True):
            # A blank must stand between two equal ids.
            needed = len(row) + int((row[1:] == row[:-1]).sum())
            if 0 < n < needed:
                raise ValueError(
                    f"sample {sample!r} has {n} frames; its answer of {len(row)} ids needs at least {needed}: "
                    "give shorter frames or a tokenizer that makes fewer ids"
                )

    def _decode(self, log_probs: Tensor) -> list[int]:
        return best_path(log_probs, self.blank) if self.beam == 1 else prefix_beam(log_probs, self.blank, self.beam)

    def _text(self, ids: list[int]) -> str:
        values = torch.tensor(ids, dtype=torch.long)
        return self.tokenizer.decode(Tokens(values=values, positions=torch.zeros(len(ids), 1), modality=self.modality))
