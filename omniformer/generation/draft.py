"""Speculative decoding: a cheap model guesses what a large one will write, which reads several guesses in one pass."""

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from omniformer.batch import Batch
from omniformer.core.ranges import Count
from omniformer.generation.answer import head_making
from omniformer.generation.pace import OneByOne, pick
from omniformer.generation.session import Caching, Session
from omniformer.model import OmniFormer


class Draft:
    """A cheaper model that guesses ([Leviathan et al. 2023](https://arxiv.org/abs/2211.17192)).

    What is written is what the other model would write: with `Greedy` the same ids, with `Sampling` ids of the same
    distribution, though other ones than without a draft. The better the guesses, the fewer passes it takes.

    Args:
        model: in evaluation mode, on the device of the other.
        head: of it, that makes ids of the same vocabulary.
        n: guesses that are read in one pass at most. Those behind one that fails are lost: more of them pay where most
            are taken. 4, the default, loses little where few are.
        max_seq_len: most tokens of an answer that it reads; no limit by default.
        digests: of its tokenizers by modality, to be compared with the other's; from `Writer.draft`.

    Attributes:
        guessed: how many guesses were looked at, in all that was written with this draft.
        accepted: how many of them were taken.

    Raises:
        ValueError: the head makes no ids, or n is below 1.
    """

    def __init__(
        self,
        model: OmniFormer,
        head: str,
        *,
        n: Count = 4,
        max_seq_len: int | None = None,
        digests: Mapping[str, str] | None = None,
    ) -> None:
        if n < 1:
            raise ValueError(f"n={n} guesses in one pass must be at least 1")
        head_making("ids", model, head)
        self.model, self.head, self.n, self.max_seq_len = model, head, n, max_seq_len
        self.digests = dict(digests or {})
        self.guessed = self.accepted = 0

    def __str__(self) -> str:
        share = f" ({self.accepted / self.guessed:.1%})" if self.guessed else ""
        return f"{self.accepted} of {self.guessed} guesses of the draft were accepted{share}"

    def join(self, session: Session, batch: Batch, *, guidance: float, cache: Caching, **options: Any) -> None:
        """Lets a session go on with guesses of this model.

        Args:
            session: of the other model, which has read its prompts.
            batch: that it has read.
            guidance: of the session.
            cache: of the session.
            **options: of the session, as they are.

        Raises:
            ValueError: the vocabularies differ, the draft has no room for the answers, or one of both models cannot
                take back what it has read.
        """
        refuse(guidance, cache)
        try:
            own = Session(self.model, self.head, batch, cache=cache, max_seq_len=self.max_seq_len, **options)
            for each in (session, own):
                each.forget(0)
        except ValueError as error:
            raise ValueError(f"no writing with this draft: {error}") from error
        wanted = min(each for each in (session.room, options["max_new_tokens"]) if each is not None)
        if own.room is not None and own.room < wanted:
            raise ValueError(
                f"the draft has room for {own.room} more ids, answers may have {wanted}; give a smaller "
                "max_new_tokens, or another draft"
            )
        sizes = [each.logits.shape[1] for each in (own, session)]
        if sizes[0] != sizes[1]:
            raise ValueError(f"the draft scores {sizes[0]} ids, the model {sizes[1]}; a draft has the same vocabulary")
        session.pace = partial(Speculation, draft=self, own=own)


class Speculation(OneByOne):
    """Has guesses read together with the id before them, and takes over those that fit.

    All rows go on together: the first guess that fails in one of them ends the pass for all. Each place of an answer
    has its own random numbers, whoever else is in the batch and however many guesses one pass reads.

    Args:
        strategy: says how ids are chosen.
        session: what has been read.
        chances: the random numbers of each row.
        owner: the sample of each row.
        draft: counts what was guessed.
        own: the same prompts, read by the draft.
    """

    def __init__(self, *given: Any, draft: Draft, own: Session) -> None:
        super().__init__(*given)
        self.draft, self.own = draft, own
        # From the next place on: guesses, with the distributions that they were drawn from; numbers drawn for a place.
        self._guesses: deque[tuple[Tensor, Tensor]] = deque()
        self._numbers: deque[Tensor] = deque()
        self.own.reorder(self.owner)

    def choose(self, seen: Tensor | None) -> Tensor:
        if not self._guesses:
            self._guess(1)
        guess, chances = self._guesses[0]
        logits = self.session.logits
        if self.strategy.temperature == 0:
            found = self.strategy.choose(logits, seen=seen)
        else:
            found = judged(self.strategy.probabilities(logits, seen=seen), chances, guess, self._numbers[0][:, 1:])
        if self.session.ahead:
            self.draft.guessed += len(guess)
            self.draft.accepted += int((found == guess).sum())
        return found

    def advance(self, rows: Sequence[int], ids: Sequence[int]) -> None:
        self.reorder(rows)
        guess, _ = self._guesses.popleft()
        self._numbers.popleft()
        if self.session.ahead and guess.tolist() == list(ids):
            self.session.advance(ids)
            if not self._guesses:  # the last guess, which the draft itself has not read
                self.own.advance(ids)
            return
        self.own.forget(len(self._guesses))
        self._guesses.clear()
        self.own.advance(ids)
        # The last id of an answer is never read, and the one that was chosen takes a place too.
        self._guess(max(min(self.draft.n, self.session.left - 2, self.own.left), 0))
        self.session.advance(ids, [each.tolist() for each, _ in self._guesses])

    def reorder(self, rows: Sequence[int]) -> None:
        super().reorder(rows)
        self.own.reorder(rows)
        index = torch.tensor(list(rows), dtype=torch.long)
        self._numbers = deque(each[index] for each in self._numbers)
        self._guesses = deque((ids[index.to(ids.device)], q[index.to(q.device)]) for ids, q in self._guesses)

    def _guess(self, n: int) -> None:
        """Guesses n ids of each row; the draft has read all but the last then."""
        for i in range(n):
            if i:
                self.own.advance(self._guesses[-1][0].tolist())
            if len(self._numbers) == i:
                self._numbers.append(self.drawn(3))
            logits, seen = self.own.logits, self.strategy.seen(self.own)
            if self.strategy.temperature == 0:
                self._guesses.append((self.strategy.choose(logits, seen=seen), logits))
            else:
                chances = self.strategy.probabilities(logits, seen=seen)
                self._guesses.append((pick(chances, self._numbers[i][:, 0]), chances))


def refuse(guidance: float, cache: Caching) -> None:
    """Raises for a session whose guesses cannot be read together, or not taken back.

    Raises:
        ValueError: there is guidance, or the cache is neither "growing" nor "static".
    """
    if guidance != 1:
        raise ValueError(f"guidance={guidance} compares two passes, of which a draft guesses none; leave one out")
    if cache not in ("growing", "static"):
        raise ValueError(f"cache={cache!r} cannot forget guesses that were wrong; use growing or static with a draft")


def judged(target: Tensor, draft: Tensor, guess: Tensor, draws: Tensor) -> Tensor:
    """Ids distributed as `target`, where `guess` is distributed as `draft`: the guess, where it is taken.

    It is taken with the probability `target / draft` of it, at most 1; else an id is drawn from what `target` has more
    than `draft` (Leviathan et al. 2023, algorithm 1).

    Args:
        target: probabilities by which ids are to be drawn.
        draft: probabilities by which the guess was drawn.
        guess: an id of each row.
        draws: two numbers from 0 up to 1 for each row, which decide.

    Shapes:
        target, draft `[rows, vocab_size]`, guess int64 `[rows]`, draws `[rows, 2]` → int64 `[rows]`.

    Example:
        >>> p, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]])
        >>> [judged(p, q, torch.tensor([0]), torch.tensor([[u, 0.3]])).item() for u in (0.4, 0.6)]
        [0, 1]
    """
    draft, guess, draws = draft.to(target), guess.to(target.device), draws.to(target)
    wanted, given = (each.gather(1, guess[:, None])[:, 0] for each in (target, draft))
    more = (target - draft).clamp(min=0)
    rest = torch.where(more.sum(-1, keepdim=True) > 0, more, target)
    return torch.where(draws[:, 0] * given < wanted, guess, pick(rest, draws[:, 1]))
