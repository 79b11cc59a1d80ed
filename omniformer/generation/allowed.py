"""Which ids an answer may hold, whatever the model says of them."""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from omniformer.core.ranges import Natural


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Ids that are never written, and ids that have their place: what published models are to be read with.

    It counts what is written behind the start ids and the prompt. Probabilities of what remains are not made to add up
    to one again: an id is as probable as the model says, and one that has to be there is certain.

    Args:
        never: ids that are never written: padding, which some models score like any other id (`bad_words_ids` and
            `suppress_tokens` in published files), or the start id of pixels.
        never_first: ids with which no answer begins (`begin_suppress_tokens`): Whisper would say nothing.
        first: the id with which every answer begins (`forced_bos_token_id`), as BART was trained to.
        last: the id that stands in the last place of an answer that would not end in time (`forced_eos_token_id`).

    Raises:
        ValueError: an id is negative.

    Example:
        >>> Allowed(never=(0,), first=2)(torch.zeros(1, 3), place=0, room=5).tolist()
        [[-inf, -inf, 0.0]]
        >>> Allowed(never=(0,), first=2)(torch.zeros(1, 3), place=1, room=5).tolist()
        [[-inf, 0.0, 0.0]]
    """

    never: tuple[int, ...] = ()
    never_first: tuple[int, ...] = ()
    first: Natural | None = None
    last: int | None = None

    def __post_init__(self) -> None:
        for name in ("never", "never_first"):
            # Lists, as files hold them, become what can be compared.
            object.__setattr__(self, name, tuple(sorted(set(getattr(self, name)))))
        named = [*self.never, *self.never_first, *(each for each in (self.first, self.last) if each is not None)]
        if wrong := [each for each in named if each < 0]:
            raise ValueError(f"{self}: ids are at least 0; received {wrong[0]}")

    def __call__(self, scores: Tensor, *, place: int, room: int) -> Tensor:
        """The scores with minus infinity for what may not be written, and 0 for what must be.

        Args:
            scores: of every id.
            place: how many ids of the answer are written.
            room: how many may be written at most.

        Shapes:
            scores `[rows, vocab_size]` → the same.

        Raises:
            ValueError: an id is beyond the scores.
        """
        must = self.last if place == room - 1 and self.last is not None else self.first if place == 0 else None
        if must is not None:
            nothing = torch.full_like(scores, -torch.inf)
            return _filled(nothing, (must,), 0.0)
        return _filled(scores, (*self.never, *(self.never_first if place == 0 else ())), -torch.inf)


def _filled(scores: Tensor, ids: Collection[int], value: float) -> Tensor:
    """A copy with one value for some ids."""
    if not ids:
        return scores
    if max(ids) >= scores.shape[1]:
        raise ValueError(f"id {max(ids)} is beyond the {scores.shape[1]} ids that this head scores")
    return scores.index_fill(1, torch.tensor(list(ids), device=scores.device), value)
