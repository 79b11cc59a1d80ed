"""What is to be predicted of a data set, as a simple method sees it, and how good an answer is by the task's metric."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from omniformer_tokenizers import Tokenizer, Tokens
from torch import Tensor

from omniformer.batch import Batch, Sample, collate
from omniformer.data.module import OmniDataModule
from omniformer.data.source import Raw, Split
from omniformer.tasks.autoregression import Autoregression
from omniformer.tasks.classification import MISSING
from omniformer.tasks.conditional_generation import ConditionalGeneration
from omniformer.tasks.task import Step, Task
from omniformer.tasks.texts import compare

Kind = Literal["label", "labels", "value", "node", "text", "ids"]
Answers = Tensor | list[str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """A data set and its task, without a model.

    Args:
        name: of the member.
        kind: what is predicted: a class, answers to questions, numbers, a class of each node, a text, or a picture or
            sound in ids.
        task: scores answers.
        raws: the samples of each split that has any.
        tokenizers: by modality, which know what nodes of graphs hold, and at which rate sounds are read.
        n_outputs: how many classes, questions, numbers or ids.
        answer: the modality that is to be written, where it stands among the contents.
    """

    name: str
    kind: Kind
    task: Task
    raws: Mapping[Split, Sequence[Raw]]
    tokenizers: Mapping[str, Tokenizer]
    n_outputs: int
    answer: str | None = None

    def given(self, raw: Raw) -> dict[str, Any]:
        """What a sample is given, by modality."""
        return {name: each for name, each in raw.contents.items() if name != self.answer}

    @cached_property
    def modalities(self) -> frozenset[str]:
        """What the first sample is given."""
        return frozenset(self.given(self.raws["train"][0]))

    def contents(self, split: Split, modality: str) -> list[Any]:
        """What each sample of a split is given of a modality."""
        return [raw.contents[modality] for raw in self.raws[split]]

    def targets(self, split: Split) -> Tensor:
        """What is to be predicted: int64 `[samples]` of classes, float32 `[samples, outputs]` of questions and numbers,
        int64 `[nodes that count]` of nodes, int64 `[ids]` of all samples that are written in ids.
        """
        if split not in self._known:
            self._known[split] = self._targets(split)
        return self._known[split]

    @cached_property
    def _known(self) -> dict[Split, Tensor]:
        return {}  # reading a row anew may mean reading its file

    def _targets(self, split: Split) -> Tensor:
        if self.kind == "node":
            batch = self._nodes(split)
            return batch.token_targets["label"][batch.token_targets["mask"]]
        if self.kind == "ids":
            return torch.cat([each[1:] for each in self.ids(split)])
        rows = torch.stack([raw.targets[self.kind] for raw in self.raws[split]])
        return rows if self.kind == "label" else rows.float().reshape(len(rows), -1)

    def texts(self, split: Split) -> list[str]:
        """What is to be written."""
        return [str(raw.answer["text"] if "text" in raw.answer else raw.contents["text"]) for raw in self.raws[split]]

    def ids(self, split: Split) -> list[Tensor]:
        """What is to be written in ids, with the one that begins it: int64 `[ids]` of each sample."""
        assert isinstance(self.task, Autoregression)
        if split not in self._written:
            name, found = self.task.modality, []
            for raw in self.raws[split]:
                content = raw.answer[name] if name in raw.answer else raw.contents[name]
                found.append(self.tokenizers[name].answer(self.tokenizers[name](content)).values)
            self._written[split] = found
        return self._written[split]

    @cached_property
    def _written(self) -> dict[Split, list[Tensor]]:
        return {}

    def scores(self, split: Split, answers: Answers) -> dict[str, float]:
        """The task's metrics, those left out that the split does not define.

        Args:
            split: which was answered.
            answers: raw outputs as a head gives them, texts, or the loss of each id in nats.
        """
        metrics = self.task.metrics()
        if isinstance(answers, list):
            assert isinstance(self.task, ConditionalGeneration)
            compare(metrics, self.task.scores, answers, self.texts(split))
            found = {name: metrics[name].compute() for name in self.task.scores}  # pyright: ignore[reportCallIssue, reportArgumentType]
        else:
            batch: Any = self._nodes(split) if self.kind == "node" else None
            targets = self.targets(split)
            if self.kind == "labels":  # as the task hands them to its metrics
                targets = targets.nan_to_num(MISSING).round().long()
            step = Step(loss=torch.zeros(()), count=len(answers), outputs=answers, targets=targets)
            self.task.update(metrics, step, batch)
            found = metrics.compute()
        return {name: float(value) for name, value in found.items() if not value.isnan()}

    def goodness(self, split: Split, answers: Answers) -> float:
        """How good answers are by the metric that the task is about, or its first one: more is better."""
        found = self.scores(split, answers)
        name = self.main({split: found})
        if name is None:
            return float("-inf")
        return -found[name] if self.task.reported("test").get(name) == "min" else found[name]

    def main(self, scores: Mapping[str, Mapping[str, float]]) -> str | None:
        """The metric that the task is about, or the first of those that were scored in a split; None without any."""
        names = list(next(iter(scores.values()), {}))
        return self.task.watched.metric if self.task.watched.metric in names else next(iter(names), None)

    def digest(self) -> str:
        """A hash of all that a simple method sees: ids, contents and targets of every split, and what is asked."""
        parts = hashlib.sha256(f"{type(self.task).__name__} {self.kind} {self.n_outputs}".encode())
        for split, raws in self.raws.items():
            parts.update(f"{split} {len(raws)}".encode())
            for raw in raws:
                for value in _leaves([raw.id, raw.contents, raw.answer, raw.targets, raw.token_targets]):
                    parts.update(value)
            if self.kind == "ids":  # which depend on the tokenizer too
                parts.update(b"".join(_leaves(self.ids(split))))
        return parts.hexdigest()

    def _nodes(self, split: Split) -> Batch:
        if split not in self._batches:
            self._batches[split] = _targets(self.raws[split])
        return self._batches[split]

    @cached_property
    def _batches(self) -> dict[Split, Batch]:
        return {}


def _targets(raws: Sequence[Raw]) -> Batch:
    """The targets of nodes as a batch of samples that hold nothing else."""
    samples = []
    for raw in raws:
        n = len(raw.token_targets["label"])
        nodes = Tokens(values=torch.zeros(n, 1), positions=torch.zeros(n, 0), modality="graph")
        mask = raw.token_targets.get("mask", torch.ones(n, dtype=torch.bool))
        targets = {"label": raw.token_targets["label"], "mask": mask}
        samples.append(Sample(id=raw.id, pieces=[nodes], token_targets=targets))
    return collate(samples)


def problem_of(name: str, data: OmniDataModule, task: Task) -> Problem | None:
    """The problem of a member; None where the task is none that simple methods here know.

    Args:
        name: of the member.
        data: of the run.
        task: of the member.
    """
    stream = data.streams[name]
    if stream.arrange is not None or not len(stream.raws("train")):
        return None
    splits: tuple[Split, ...] = ("train", "val", "test")
    raws: dict[Split, Sequence[Raw]] = {split: found for split in splits if len(found := stream.raws(split))}
    first = raws["train"][0]
    kind = _kind(task, first, stream.answer)
    if kind is None:
        return None
    return Problem(
        name=name,
        kind=kind,
        task=task,
        raws=raws,
        tokenizers=data.tokenizers[name],
        n_outputs=_n_outputs(kind, first, data, task, name),
        answer=stream.answer if not first.answer else None,
    )


def _kind(task: Task, first: Raw, answer: str | None) -> Kind | None:
    for kind in ("label", "labels", "value"):
        if tuple(task.targets) == (kind,) and kind in first.targets:
            return kind
    if "label" in task.token_targets and "graph" in first.contents and "label" in first.token_targets:
        return "node"
    if isinstance(task, Autoregression):
        return "ids"
    writes = answer == "text" or "text" in first.answer
    return "text" if isinstance(task, ConditionalGeneration) and writes else None


def _n_outputs(kind: Kind, first: Raw, data: OmniDataModule, task: Task, name: str) -> int:
    if kind == "value":
        return first.targets["value"].numel()
    if isinstance(task, Autoregression):
        return int(data.tokenizers[name][task.modality].facts["vocab_size"])
    return len(data.labels(name))


def _leaves(value: Any) -> Iterable[bytes]:
    if isinstance(value, Mapping):
        value = [each for pair in value.items() for each in pair]
    if isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(each)
    elif isinstance(value, Tensor):
        yield value.detach().cpu().contiguous().numpy().tobytes()
    elif isinstance(value, Path):
        known = value.stat() if value.is_file() else None
        yield f"{value.name} {known and known.st_size} {known and known.st_mtime_ns}".encode()
    elif isinstance(value, bytes):
        yield value
    elif hasattr(value, "tobytes"):  # arrays, Pillow images
        yield value.tobytes()
    elif hasattr(value, "to_dict"):  # graphs of PyG
        yield from _leaves(value.to_dict())
    else:
        yield repr(value).encode()
