"""How often the sample that belongs to a query is among the nearest ones."""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, permutations
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from omniformer.tasks.rows import Row, number

ROWS = 1024  # queries compared at a time, so that memory grows with the number of samples and not with its square


class Retrieval(Metric):
    """Recall at k between modalities over a whole split, both ways for each pair
    ([Radford et al. 2021](https://arxiv.org/abs/2103.00020), table 13).

    Every sample that has both modalities is a query, and such samples are the candidates. Candidates that are exactly
    as near as each other are ranked at random, and the expected recall is counted: a model that puts all samples in one
    place scores what chance scores.

    Args:
        modalities: the names, in the order in which `update` receives their vectors.
        d_embedding: width of the vectors.
        same_label: whether any sample of the query's label is a hit, and not the query's partner alone.
        ks: how many nearest candidates count.
        loss: the mean loss of a pair of modalities, from the vectors of both and the keys by which samples belong
            together; where it is given, `loss` is its mean over all pairs of the whole split.

    Example:
        >>> metric = Retrieval(["vision", "text"], d_embedding=3, ks=(1,))
        >>> vectors = torch.eye(3)
        >>> metric.update(torch.stack([vectors, vectors[[0, 2, 1]]], dim=1), torch.arange(3))
        >>> {name: round(float(value), 3) for name, value in metric.compute().items()}
        {'vision_to_text/recall@1': 0.333, 'text_to_vision/recall@1': 0.333, 'recall@1': 0.333}
    """

    full_state_update = False
    higher_is_better = True
    rows: list[Tensor]

    def __init__(
        self,
        modalities: Sequence[str],
        *,
        d_embedding: int,
        same_label: bool = False,
        ks: Sequence[int] = (1, 5, 10),
        loss: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.modalities, self.d_embedding = list(modalities), d_embedding
        self.same_label, self.ks, self.loss = same_label, tuple(ks), loss
        # Flat numbers of one type: a rank that has seen no sample joins the others with an empty list of those.
        self.add_state("rows", [], dist_reduce_fx="cat")

    @property
    def names(self) -> tuple[str, ...]:
        """What `compute` reports beside the loss."""
        pairs = permutations(self.modalities, 2)
        return (*(f"{a}_to_{b}/recall@{k}" for a, b in pairs for k in self.ks), f"recall@{self.ks[0]}")

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Stores the vectors of a batch.

        Shapes:
            embeddings `[samples, modalities, d_embedding]`, NaN where a sample lacks a modality; labels int64
            `[samples]`, below 2**24.
        """
        expected = [len(labels), len(self.modalities), self.d_embedding]
        if list(embeddings.shape) != expected:
            raise ValueError(f"embeddings have shape {list(embeddings.shape)}; expected {expected}")
        self.rows.append(torch.cat([labels[:, None].float(), embeddings.float().flatten(1)], dim=1).flatten())

    def compute(self) -> dict[str, Tensor]:
        """Recall of each direction at each k, and `recall@k` of the first k averaged over directions; NaN for a
        direction of which no sample has both modalities.
        """
        directions = list(permutations(range(len(self.modalities)), 2))
        flat = dim_zero_cat(self.rows) if len(self.rows) else torch.zeros(0, device=self.device)
        rows = flat.view(-1, 1 + len(self.modalities) * self.d_embedding)
        found, first = {}, []
        for query, candidate in directions:
            name = f"{self.modalities[query]}_to_{self.modalities[candidate]}"
            values = self._recalls(rows, query, candidate)
            found |= {f"{name}/recall@{k}": value for k, value in zip(self.ks, values, strict=True)}
            first.append(values[0])
        found[f"recall@{self.ks[0]}"] = torch.stack(first).nanmean()
        return found | ({} if self.loss is None else {"loss": self._whole_loss(rows, self.loss)})

    def _whole_loss(self, rows: Tensor, loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """The mean over all samples and pairs of modalities; NaN where no sample has both of any."""
        total, count = torch.zeros((), dtype=torch.float64, device=self.device), 0
        for i, j in combinations(range(len(self.modalities)), 2):
            a, b, keys = self._pair(rows, i, j)
            if len(a):
                total = total + len(a) * loss(a, b, keys).double()
                count += len(a)
        return total / count if count else total / 0

    def _pair(self, rows: Tensor, query: int, candidate: int) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors of both modalities of the samples that have both, and the keys by which these belong together."""
        labels, vectors = rows[:, 0], rows[:, 1:].unflatten(1, (len(self.modalities), -1))
        present = ~vectors[:, [query, candidate]].isnan().flatten(1).any(1)
        a, b, labels = vectors[present, query], vectors[present, candidate], labels[present]
        return a, b, labels if self.same_label else torch.arange(len(a), device=a.device)

    def _recalls(self, rows: Tensor, query: int, candidate: int) -> list[Tensor]:
        a, b, keys = self._pair(rows, query, candidate)
        if not len(a):
            return [torch.full((), torch.nan, device=self.device)] * len(self.ks)
        parts = [self._hits(a[i : i + ROWS] @ b.T, keys[i : i + ROWS, None] == keys) for i in range(0, len(a), ROWS)]
        return list(torch.cat(parts).mean(0).float())

    def _hits(self, scores: Tensor, right: Tensor) -> Tensor:
        """How likely each query has a right candidate among the first k, ties broken at random.

        Shapes:
            scores, right `[queries, candidates]` → `[queries, ks]`.
        """
        best = scores.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
        above = (scores > best).sum(1).double()
        tied, tied_right = (scores == best).sum(1).double(), ((scores == best) & right).sum(1).double()
        columns, miss = [], torch.ones_like(above)
        for place in range(max(self.ks)):
            drawn = place - above  # how many of the ties stand before this place
            open_ = (drawn >= 0) & (drawn < tied)
            wrong_left = (tied - tied_right - drawn).clamp(min=0)
            miss = torch.where(open_, miss * wrong_left / (tied - drawn).clamp(min=1), miss)
            columns.append(1 - miss)
        return torch.stack([columns[k - 1] for k in self.ks], dim=1)


def nearest(rows: Sequence[Row], modalities: Sequence[str], *, same_label: bool) -> Iterator[Row]:
    """Of each sample the one that is nearest to it, in each direction, and at which place the right one stands.

    A right one that is as near as others stands in the middle of them.

    Args:
        rows: of all samples: `id`, `key` and `vectors`, one for each modality, NaN where the sample has none.
        modalities: their names, in the order of the vectors.
        same_label: whether samples with the key of another belong to it too, and not it alone.
    """
    ids = [row["id"] for row in rows]
    keys = torch.tensor([row["key"] if same_label else i for i, row in enumerate(rows)])
    vectors = torch.tensor([row["vectors"] for row in rows]).reshape(len(rows), len(modalities), -1)
    found: list[dict[str, dict[str, Any]]] = [{"prediction": {}, "rank": {}, "scores": {}} for _ in rows]
    for query, candidate in permutations(range(len(modalities)), 2):
        name = f"{modalities[query]}_to_{modalities[candidate]}"
        there = (~vectors[:, [query, candidate]].isnan().flatten(1).any(1)).nonzero().flatten()
        for block in there.split(ROWS):
            cosines = vectors[block, query] @ vectors[there, candidate].T
            right = keys[block, None] == keys[there]
            best = cosines.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
            ties = ((cosines == best) & ~right).sum(1)
            ranks = 1 + (cosines > best).sum(1) + ties / 2
            top = cosines.max(1)
            for i, rank, score, other in zip(*(each.tolist() for each in (block, ranks, *top)), strict=True):
                for key, value in (("prediction", ids[there[other]]), ("rank", rank), ("scores", number(score))):
                    found[i][key][name] = value
    for sample, each in zip(ids, found, strict=True):
        yield {"id": sample, "target": sample, **each}
