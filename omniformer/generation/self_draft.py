"""Speculative decoding without a second model: a head that scores several places guesses for itself."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from omniformer.batch import Batch
from omniformer.core.ranges import Count
from omniformer.generation.draft import Draft, Speculation, refuse
from omniformer.generation.session import Caching, Session
from omniformer.model import OmniFormer


class SelfDraft(Draft):
    """A model with a `MultiTokenHead` as its own draft ([Stern et al. 2018](https://arxiv.org/abs/1811.03115), 4;
    [Gloeckle et al. 2024](https://arxiv.org/abs/2404.19737), 3.2): its guesses cost no pass. What is written is as with
    any `Draft`.

    Args:
        model: in evaluation mode, that writes.
        head: its `MultiTokenHead`.
        n: guesses that are read in one pass at most; as many as the head makes by default.

    Raises:
        ValueError: the head scores the next place alone, or fewer than `n` behind it.

    Example:
        >>> writer = load("outputs/text/latest").writer()  # doctest: +SKIP
        >>> draft = SelfDraft(writer.model, writer.head)  # doctest: +SKIP
        >>> answers = writer.write(["Once upon a time"], draft=draft, batch_size=1)  # doctest: +SKIP
        >>> print(draft)  # doctest: +SKIP
    """

    def __init__(self, model: OmniFormer, head: str, *, n: Count | None = None) -> None:
        reader = model.head(head)
        most = reader.n_further
        if not most:
            raise ValueError(f"{head!r} is a {type(reader).__name__}, which scores one place; use task=multi_token")
        if n is not None and n > most:
            raise ValueError(f"n={n} guesses of {head!r}, which scores {most} places behind the next one")
        super().__init__(model, head, n=most if n is None else n)

    def join(self, session: Session, batch: Batch, *, guidance: float, cache: Caching, **options: Any) -> None:
        """Lets a session of this model go on with its own guesses; see `Draft.join`.

        Raises:
            ValueError: the session is of another model or head, or cannot take back what it has read.
        """
        refuse(guidance, cache)
        if session.model is not self.model or session.head != self.head:
            raise ValueError(f"this draft guesses for {self.head!r} of its own model alone; make one of the other")
        try:
            session.forget(0)
        except ValueError as error:
            raise ValueError(f"no writing with this draft: {error}") from error
        session.pace = partial(Speculation, draft=self, own=_Ahead(session))  # pyright: ignore[reportArgumentType]


class _Ahead:
    """What a session guesses of itself, as a session that has read more: its scores are those of the head for places
    behind the one that the session has scored.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.written = [list(ids) for ids in session.written]

    @property
    def logits(self) -> Tensor:
        further = len(self.written[0]) - len(self.session.written[0]) if self.written else 0
        if not further:
            return self.session.logits
        reader: Any = self.session.model.head(self.session.head)
        with torch.inference_mode():
            return reader.further_scores(self.session.last, further).float()

    @property
    def left(self) -> int:
        return self.session.left

    def advance(self, ids: Sequence[int]) -> None:
        for row, chosen in zip(self.written, ids, strict=True):
            row.append(chosen)

    def forget(self, n: int) -> None:
        for row in self.written:
            del row[len(row) - n :]

    def reorder(self, rows: Sequence[int]) -> None:
        self.written = [list(self.written[row]) for row in rows]
