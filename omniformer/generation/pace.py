"""How a session goes on: id by id, each chosen from the scores that one pass gave."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from omniformer.generation.sampling import Sampling
    from omniformer.generation.session import Session


class OneByOne:
    """Chooses the next id of each row and has it read, one pass for one id.

    Args:
        strategy: says how ids are chosen.
        session: what has been read.
        chances: the random numbers of each row.
        owner: the sample of each row.
    """

    def __init__(
        self, strategy: "Sampling", session: "Session", chances: Sequence[torch.Generator], owner: Sequence[int]
    ) -> None:
        self.owner = list(owner)
        self.strategy, self.session, self.chances = strategy, session, list(chances)

    def choose(self, seen: Tensor | None) -> Tensor:
        """The next id of each row.

        Args:
            seen: as for `Sampling.choose`.

        Shapes:
            bool `[rows, vocab_size]` → int64 `[rows]`.
        """
        draws = self.drawn(1)[:, 0] if self.strategy.temperature > 0 else None
        return self.strategy.choose(self.session.logits, draws=draws, seen=seen)

    def advance(self, rows: Sequence[int], ids: Sequence[int]) -> None:
        """Leaves out all rows but these, and has their new ids read."""
        self.reorder(rows)
        self.session.advance(ids)

    def reorder(self, rows: Sequence[int]) -> None:
        """Makes row i the former row `rows[i]`."""
        self.session.reorder(rows)
        self.chances = [self.chances[row] for row in rows]
        self.owner = [self.owner[row] for row in rows]

    def drawn(self, n: int) -> Tensor:
        """Numbers from 0 up to 1 for each row.

        Shapes:
            → float64 `[rows, n]`.
        """
        return torch.stack([torch.rand(n, dtype=torch.float64, generator=each) for each in self.chances])


def pick(probabilities: Tensor, draws: Tensor) -> Tensor:
    """One id of each row, as numbers from 0 up to 1 decide.

    Args:
        probabilities: need not add up to one.
        draws: the numbers.

    Shapes:
        probabilities `[rows, vocab_size]`, draws `[rows]` → int64 `[rows]`.

    Example:
        >>> pick(torch.tensor([[0.5, 0.5], [0.0, 1.0]]), torch.tensor([0.6, 0.0])).tolist()
        [1, 1]
    """
    cumulative = probabilities.cumsum(-1)
    total = cumulative[:, -1:].contiguous()
    # The first id whose cumulative probability is above the draw; never one that adds nothing.
    found = torch.searchsorted(cumulative, draws.to(total)[:, None] * total, right=True)
    return torch.minimum(found, torch.searchsorted(cumulative, total))[:, 0]
