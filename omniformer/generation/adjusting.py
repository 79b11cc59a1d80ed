"""What changes the scores of the next id, whatever strategy then chooses: lengths, repetitions, wishes."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omniformer.core.ranges import Count, Natural


class Adjustment(ABC):
    """Changes scores before an id is chosen: the hook for rules of one's own, passed as `adjust` to whoever writes.

    What is forbidden (minus infinity) every strategy leaves out; other changes count where ids are drawn, or the one
    with the best score is taken. A beam search ranks by the model's own log-probabilities, which are never changed
    otherwise.
    """

    @abstractmethod
    def __call__(self, scores: Tensor, *, before: Sequence[Sequence[int]], written: Sequence[Sequence[int]]) -> Tensor:
        """The changed scores, in a new tensor.

        Args:
            scores: of the next id of each row.
            before: what each row began with: the ids from which the model writes, and the prompt.
            written: the ids of each row's answer so far.

        Shapes:
            scores `[rows, vocab_size]` → the same.
        """


@dataclass(frozen=True, slots=True)
class NoRepeat(Adjustment):
    """No sequence of `n` ids comes twice, those of the prompt included
    ([Paulus et al. 2017](https://arxiv.org/abs/1705.04304), 2.5; `no_repeat_ngram_size` in published files).

    Args:
        n: how many ids; 1 lets every id be written once.

    Raises:
        ValueError: n is below 1.

    Example:
        >>> NoRepeat(2)(torch.zeros(1, 4), before=[[1]], written=[[2, 1]]).tolist()
        [[0.0, 0.0, -inf, 0.0]]
    """

    n: Count

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n={self.n} must be at least 1")

    def __call__(self, scores: Tensor, *, before: Sequence[Sequence[int]], written: Sequence[Sequence[int]]) -> Tensor:
        scores = scores.clone()
        for row, parts in enumerate(zip(before, written, strict=True)):
            ids = [*parts[0], *parts[1]]
            last, n = tuple(ids[len(ids) - self.n + 1 :]), self.n - 1
            if len(ids) < n:
                continue
            found = [ids[i + n] for i in range(len(ids) - n) if tuple(ids[i : i + n]) == last]
            scores[row, [each for each in found if each < scores.shape[1]]] = -torch.inf
        return scores


@dataclass(frozen=True, slots=True)
class AtLeast(Adjustment):
    """No answer ends before it has so many ids (`min_new_tokens`).

    Args:
        n: how many.
        stop: ids that would end it.

    Example:
        >>> AtLeast(1, stop=[2])(torch.zeros(2, 3), before=[[0], [0]], written=[[], [1]]).tolist()
        [[0.0, 0.0, -inf], [0.0, 0.0, 0.0]]
    """

    n: Natural
    stop: Collection[int]

    def __call__(self, scores: Tensor, *, before: Sequence[Sequence[int]], written: Sequence[Sequence[int]]) -> Tensor:
        short = torch.tensor([len(ids) < self.n for ids in written], device=scores.device)
        ends = torch.zeros(scores.shape[1], dtype=torch.bool, device=scores.device)
        ends[[each for each in self.stop if each < len(ends)]] = True
        return scores.masked_fill(short[:, None] & ends, -torch.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalties(Adjustment):
    """Takes something away from the scores of ids that the answer holds already, the prompt not counted.

    Args:
        presence: once for each such id.
        frequency: for each time that it stands there. Below 0 both make ids more probable.

    Example:
        >>> Penalties(presence=1, frequency=0.5)(torch.zeros(1, 3), before=[[2]], written=[[0, 0, 1]]).tolist()
        [[-2.0, -1.5, 0.0]]
    """

    presence: float = 0.0
    frequency: float = 0.0

    def __call__(self, scores: Tensor, *, before: Sequence[Sequence[int]], written: Sequence[Sequence[int]]) -> Tensor:
        n = scores.shape[1]
        counts = torch.stack([torch.bincount(torch.tensor(ids, dtype=torch.long), minlength=n)[:n] for ids in written])
        counts = counts.to(scores)
        return scores - self.presence * (counts > 0).to(scores) - self.frequency * counts


@dataclass(frozen=True, slots=True)
class Bias(Adjustment):
    """Adds something to the scores of some ids.

    Args:
        of: what, by id; minus infinity forbids it.

    Raises:
        ValueError: an id is negative, or beyond the scores, when called.

    Example:
        >>> Bias({1: 2.5})(torch.zeros(1, 3), before=[[]], written=[[]]).tolist()
        [[0.0, 2.5, 0.0]]
    """

    of: Mapping[int, float]

    def __call__(self, scores: Tensor, *, before: Sequence[Sequence[int]], written: Sequence[Sequence[int]]) -> Tensor:
        if wrong := [each for each in self.of if not 0 <= each < scores.shape[1]]:
            raise ValueError(f"id {wrong[0]} is none of the {scores.shape[1]} ids that this head scores")
        bias = scores.new_zeros(scores.shape[1])
        bias[list(self.of)] = torch.tensor(list(self.of.values()), dtype=scores.dtype, device=scores.device)
        return scores + bias
