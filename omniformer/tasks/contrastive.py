"""Learning which samples of two modalities belong together."""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection

from omniformer.batch import Batch
from omniformer.core.ranges import NotNegative
from omniformer.core.rules import Rule
from omniformer.heads.contrastive import ContrastiveHead
from omniformer.model import OmniFormer
from omniformer.tasks.gathering import gather
from omniformer.tasks.retrieval import ROWS, Retrieval, nearest
from omniformer.tasks.rows import Row
from omniformer.tasks.task import Step, Task, Watched, target


class Contrastive(Task[ContrastiveHead]):
    """Pulls the modalities of a sample together and pushes them from those of other samples, for every pair of the
    head's modalities ([Radford et al. 2021](https://arxiv.org/abs/2103.00020), figure 3).

    The one core reads each modality by itself. A sample takes part in the pairs of which it has both modalities; the
    loss is the mean over all samples and pairs. In training on several ranks, the samples of all ranks are compared
    with each other, with exact gradients. In evaluation the samples of the whole split are, in the loss as in recall,
    so that neither depends on the size of batches; such a loss is larger than that of a training step, which has fewer
    to tell apart.

    Args:
        head: embeds samples of each modality.
        rule: who may attend to whom.
        loss: "softmax", symmetric over rows and columns, or "sigmoid", each pair of samples by itself
            ([Zhai et al. 2023](https://arxiv.org/abs/2303.15343)); the latter needs the head's `bias`, -10 there.
        same_label: whether samples with equal target `label` belong together too
            ([Yang et al. 2022](https://arxiv.org/abs/2204.03610), UniCL), in the loss and in recall.
        loss_weight: factor of this task's loss in a mixture.

    Raises:
        ValueError: loss and head do not fit.
    """

    watched = Watched("recall@1", "max")
    gathers = True

    def __init__(
        self,
        *,
        head: ContrastiveHead,
        rule: Rule | None = None,
        loss: Literal["softmax", "sigmoid"] = "softmax",
        same_label: bool = False,
        loss_weight: NotNegative = 1.0,
    ) -> None:
        super().__init__(head=head, rule=rule, loss_weight=loss_weight)
        if loss not in ("softmax", "sigmoid"):
            raise ValueError(f"loss={loss!r} is not known; choose 'softmax' or 'sigmoid'")
        if (loss == "sigmoid") != (head.bias is not None):
            wanted = "a bias, for example head.bias=-10" if loss == "sigmoid" else "no bias: set head.bias=null"
            raise ValueError(f"loss={loss!r} needs a head with {wanted}")
        self.loss = loss
        self.same_label = same_label
        self.targets = ("label",) if same_label else ()

    def step(self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None = None) -> Step:
        head = self.head_of(model, name)
        device = head.log_scale.device
        labels = target(batch, "label") if self.same_label else torch.zeros(len(batch), dtype=torch.long, device=device)
        vectors, own, nothing = self._embed(model, batch, name, losses)
        outputs = vectors.detach().masked_fill(~own[..., None], torch.nan)
        present, groups = own, labels
        if torch.is_grad_enabled():
            vectors, present, groups = gather(vectors), gather(own.int()).bool(), gather(labels[:, None])[:, 0]
        total, count, whole = nothing + vectors.sum() * 0 + head.scale() * 0, 0, 0
        if head.bias is not None:
            total = total + head.bias * 0  # a batch without any pair still gives every parameter a gradient
        for i, j in combinations(range(len(head.modalities)), 2):
            both = present[:, i] & present[:, j]
            n = int(both.sum())
            if n:
                keys = groups[both] if self.same_label else torch.arange(n, device=device)
                total = total + n * self._compare(head, vectors[both, i], vectors[both, j], keys)
            whole += n
            count += int((own[:, i] & own[:, j]).sum())
        return Step(loss=total / max(whole, 1), count=count, outputs=outputs, targets=labels)

    def count(self, batch: Batch) -> int:
        none = torch.zeros(len(batch), dtype=torch.long)
        there = [batch.counts.get(modality, none) > 0 for modality in self.head.modalities]
        return sum(int((a & b).sum()) for a, b in combinations(there, 2))

    def metrics(self) -> MetricCollection:
        head = self.head
        retrieval = Retrieval(
            head.modalities,
            d_embedding=head.d_embedding,
            same_label=self.same_label,
            loss=partial(self._compare, head),
        )
        return MetricCollection({"retrieval": retrieval})

    def rows(self, head: ContrastiveHead, step: Step, batch: Batch, labels: Sequence[str]) -> Iterable[Row]:
        """The vectors of each sample, to be compared when all are there."""
        for sample, vectors, key in zip(batch.ids, step.outputs.tolist(), step.targets.tolist(), strict=True):
            yield {"id": sample, "key": key, "vectors": vectors}

    def together(self, rows: Iterable[Row]) -> Iterable[Row]:
        return nearest(list(rows), self.head.modalities, same_label=self.same_label)

    def _embed(
        self, model: OmniFormer, batch: Batch, name: str, losses: dict[str, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The vectors of all samples by modality, zero where a sample lacks one; which samples have which; and a zero
        with a gradient of zero for the core, which no vector may have come from.

        Shapes:
            float32 `[samples, modalities, d_embedding]`, bool `[samples, modalities]`, `[]`.
        """
        head = self.head_of(model, name)
        vectors, present, passes, nothing = [], [], [], head.log_scale.detach() * 0
        for modality in head.modalities:
            alone = batch.select(modality)
            passes.append({} if losses is not None else None)
            x, layout = model.encode(alone, name, losses=passes[-1])
            vectors.append(head.embed(x, layout, modality))
            nothing = nothing + x.sum() * 0
            present.append(alone.lengths > 0)
        if losses is not None:  # the core's losses are means over layers; here they are means over passes too
            for kind in passes[0] or {}:
                losses[kind] = torch.stack([each[kind] for each in passes if each]).mean()
        return torch.stack(vectors, dim=1), torch.stack(present, dim=1).to(vectors[0].device), nothing

    def _compare(self, head: ContrastiveHead, a: Tensor, b: Tensor, keys: Tensor) -> Tensor:
        """The mean loss of samples of two modalities; those with equal keys belong together.

        Shapes:
            a, b `[samples, d_embedding]`, keys `[samples]`.
        """
        rows = self._rows(head, a, b, keys).mean()
        return rows if self.loss == "sigmoid" else (rows + self._rows(head, b, a, keys).mean()) / 2

    def _rows(self, head: ContrastiveHead, a: Tensor, b: Tensor, keys: Tensor) -> Tensor:
        """The loss of each row of a among all of b.

        Shapes:
            → `[samples]`.
        """
        blocks = zip(a.split(ROWS), keys.split(ROWS), strict=True)
        return torch.cat([self._block(head, part @ b.T, own[:, None] == keys) for part, own in blocks])

    def _block(self, head: ContrastiveHead, cosines: Tensor, belong: Tensor) -> Tensor:
        logits = head.scale() * cosines
        if self.loss == "softmax":
            return -(belong / belong.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1)
        assert head.bias is not None
        return -F.logsigmoid(torch.where(belong, 1.0, -1.0) * (logits + head.bias)).sum(1)
