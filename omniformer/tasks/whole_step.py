"""A training step as a whole: what all ranks count in all of its micro-batches, and which parts they read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from omniformer.batch import Batch
from omniformer.model import OmniFormer
from omniformer.parallel.tensors import own
from omniformer.tasks.gathering import n_ranks, total
from omniformer.tasks.task import Task


class WholeStep:
    """By how much each micro-batch counts in a step, so that the step is the same however it was split.

    The loss of a step is, for each member, the mean over everything that it predicts in the step: in all micro-batches,
    on all ranks. A task gives the mean over one micro-batch, and data-parallel training averages gradients over ranks;
    so each mean counts `ranks * own / all`, which is exactly 1 for a step that is one batch on one rank.

    Args:
        model: whose embedders and heads are read, or not.
        tasks: by the name of their head.
        counts: things predicted, of all ranks together.
        reads: how many micro-batches of all ranks hold something for each embedder, then for each head.

    Shapes:
        counts float64 `[micro-batches, tasks]`, reads int64 `[embedders + heads]`; both on the host.
    """

    def __init__(self, model: OmniFormer, tasks: Mapping[str, Task], counts: Tensor, reads: Tensor) -> None:
        self.model, self.tasks = model, tasks
        self.counts, self.reads = counts, reads

    @classmethod
    def of(cls, model: OmniFormer, tasks: Mapping[str, Task], step: Sequence[Mapping[str, Batch]]) -> "WholeStep":
        """Asks all ranks what they have in their micro-batches of one step; all must ask, with equally many.

        Args:
            model: whose embedders and heads are read.
            tasks: by the name of their head.
            step: the micro-batches of this rank, on the host.
        """
        own = torch.tensor([[_count(tasks[name], each.get(name)) for name in tasks] for each in step]).double()
        parts = [part for each in step for part in read_by(each)]
        reads = torch.tensor([parts.count(part) for part in _parts(model)])
        summed = total(torch.cat([own.flatten(), reads]))
        return cls(model, tasks, summed[: own.numel()].view(own.shape), summed[own.numel() :].long())

    def share(self, name: str, batch: Batch, place: int) -> float:
        """By how much the mean loss of a member's micro-batch is multiplied.

        Args:
            name: of the member.
            batch: of this rank, on the host.
            place: of the micro-batch in the step.
        """
        whole = float(self.counts[:, list(self.tasks).index(name)].sum())
        return self._own(name, batch, place) / whole if whole else 0.0

    def share_of_ranks(self, name: str, batch: Batch, place: int) -> float:
        """By how much it counts among the micro-batches that all ranks have at this place, of whose means the mean over
        ranks is then the mean loss.

        Args:
            name: of the member.
            batch: of this rank, on the host.
            place: of the micro-batch in the step.
        """
        together = float(self.counts[place, list(self.tasks).index(name)])
        return self._own(name, batch, place) / together if together else 0.0

    def _own(self, name: str, batch: Batch, place: int) -> float:
        if self.tasks[name].gathers:
            return float(self.counts[place, list(self.tasks).index(name)])
        return n_ranks() * self.tasks[name].count(batch)

    def unread(self) -> list[nn.Parameter]:
        """The parameters of embedders and heads that no rank reads in this step: it must leave them as they are."""
        absent = {part for part, times in zip(_parts(self.model), self.reads.tolist(), strict=True) if not times}
        return beside(self.model, set(_parts(self.model)) - absent)

    def state(self) -> dict[str, Any]:
        """What a checkpoint in the middle of the step keeps."""
        return {"counts": self.counts, "reads": self.reads}


def read_by(batches: Mapping[str, Batch]) -> set[tuple[str, str]]:
    """The embedders and heads that batches are read by."""
    read = {("head", name) for name in batches}
    for batch in batches.values():
        parts = [*batch.parts, *(batch.answer.parts if batch.answer is not None else ())]
        read |= {("embedder", modality) for modality in parts}
    return read


def beside(model: OmniFormer, read: Iterable[tuple[str, str]]) -> list[nn.Parameter]:
    """The parameters of the other embedders and heads, less those shared with what is read or with the core."""
    modules = _parts(model)
    kept = {id(each) for part in read if part in modules for each in modules[part].parameters()}
    kept |= {id(each) for each in model.core.parameters()}
    others = {id(each): each for part, module in modules.items() if part not in read for each in module.parameters()}
    return [each for key, each in others.items() if key not in kept]


def touch(parameters: Iterable[nn.Parameter]) -> Tensor:
    """A zero that reads no number of any parameter, and gives each a gradient of zero."""
    return sum((own(each).flatten()[:0].sum() for each in parameters if each.requires_grad), start=torch.zeros(()))


def _parts(model: OmniFormer) -> dict[tuple[str, str], nn.Module]:
    embedders = {("embedder", name): module for name, module in model.embedders.items()}
    return embedders | {("head", name): module for name, module in model.heads.items()}


def _count(task: Task, batch: Batch | None) -> float:
    return 0 if batch is None else task.count(batch)
