"""Ids end to end on a ring, from which stretches are cut anywhere."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Holder(Protocol):
    """What holds ids: an array in memory, or a `Corpus` mapped from the disk."""

    @property
    def tokens(self) -> np.ndarray:
        """Unsigned or signed whole numbers `[tokens]`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Ids in memory."""

    tokens: np.ndarray


class Ring:
    """Ids end to end, the first one again behind the last one; only what is cut is read.

    Args:
        holder: the ids.
        turned: the ring begins behind so many of them; below 0, before the first one.

    Example:
        >>> ring = Ring(Held(np.array([3, 4, 5, 0])), turned=-1)
        >>> ring.cut(0, 3).tolist(), ring.cut(3, 2).tolist()
        ([0, 3, 4], [5, 0])
    """

    def __init__(self, holder: Holder, *, turned: int = 0) -> None:
        self.holder, self.turned = holder, turned

    @classmethod
    def of(cls, documents: Iterable[np.ndarray | Tensor], end: int) -> "Ring":
        """The documents, each behind an id that stands for the end of the one before.

        Args:
            documents: the ids of each.
            end: that id.
        """
        mark = np.array([end], np.int32)
        return cls(Held(np.concatenate([part for ids in documents for part in (mark, np.asarray(ids, np.int32))])))

    def __len__(self) -> int:
        return len(self.holder.tokens)

    def cut(self, first: int, n: int) -> Tensor:
        """A stretch of ids, int64 `[n]`.

        Args:
            first: where it begins, anywhere.
            n: how many, at most as many as there are.
        """
        begin = (first + self.turned) % len(self)
        tokens = self.holder.tokens
        stretch = np.concatenate([tokens[begin : begin + n], tokens[: max(begin + n - len(self), 0)]])
        return torch.from_numpy(stretch.astype(np.int64))
