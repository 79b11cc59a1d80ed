"""Telling classes apart whatever part of a sample is there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import torch
from omniformer_tokenizers import Tokenizer
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from omniformer.batch import Batch
from omniformer.heads.head import Head
from omniformer.model import OmniFormer
from omniformer.tasks.classification import MISSING, Classification
from omniformer.tasks.rows import Row
from omniformer.tasks.task import Mode, Stage, Step


class MissingModalities(Classification):
    """One class of several for each sample, measured with all of its modalities and with every subset of them
    ([Neverova et al. 2016](https://arxiv.org/abs/1501.00102)).

    The subsets are reported in test as `accuracy/vision`, `accuracy/audio+vision` and so on, each over the samples
    that have all of its modalities. In training the data leaves modalities out (`data.drop`).

    Args:
        tokenizers: by modality; their names are the modalities.
        options: all else, as for `Classification`.
    """

    def __init__(
        self,
        *,
        tokenizers: Mapping[str, Tokenizer],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        names = sorted(tokenizers)
        self.subsets = [subset for size in range(1, len(names)) for subset in combinations(names, size)]

    def measure(self, model: OmniFormer, batch: Batch, name: str, stage: Stage) -> Step:
        """A step whose outputs are the logits from all modalities and, in test, from each subset."""
        step = self.step(model, batch, name)
        if stage == "val":
            return step
        outputs, targets = [step.outputs], [step.targets]
        for subset in self.subsets:
            outputs.append(model(batch.select(*subset), name))
            there = [batch.counts[m] > 0 if m in batch.counts else torch.zeros(len(batch)).bool() for m in subset]
            whole = torch.stack(there).all(0).to(step.targets.device)
            targets.append(step.targets.masked_fill(~whole, MISSING))
        return Step(loss=step.loss, count=step.count, outputs=torch.stack(outputs), targets=torch.stack(targets))

    def metrics(self) -> MetricCollection:
        parts: dict[str, MulticlassAccuracy] = {
            _name(subset): MulticlassAccuracy(self.n_classes, average="micro", ignore_index=MISSING)
            for subset in self.subsets
        }
        return MetricCollection({**dict(super().metrics().items()), **parts}, compute_groups=False)

    def reported(self, stage: Stage) -> dict[str, Mode | None]:
        unfed = {_name(subset) for subset in self.subsets} if stage == "val" else set()
        return {name: mode for name, mode in super().reported(stage).items() if name not in unfed}

    def update(self, metrics: MetricCollection, step: Step, batch: Batch) -> None:
        outputs, targets = step.outputs.detach().float(), step.targets
        if outputs.ndim == 2:  # of all modalities only
            outputs, targets = outputs[None], targets[None]
        for metric in ("accuracy", "f1"):
            metrics[metric].update(outputs[0], targets[0])
        for subset, logits, labels in zip(self.subsets, outputs[1:], targets[1:], strict=False):
            metrics[_name(subset)].update(logits, labels)

    def rows(self, head: Head, step: Step, batch: Batch, labels: Sequence[str]) -> Iterable[Row]:
        if step.outputs.ndim == 3:  # of all modalities first
            step = replace(step, outputs=step.outputs[0], targets=step.targets[0])
        return super().rows(head, step, batch, labels)


def _name(subset: tuple[str, ...]) -> str:
    return f"accuracy/{'+'.join(subset)}"
