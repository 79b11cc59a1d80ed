"""Answers one id at a time: drawn at random from the model's distribution, or always the most probable id."""

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omniformer.core.ranges import Count, NotNegative, Positive, Seed, SomeShare
from omniformer.generation.pace import pick
from omniformer.generation.session import Session
from omniformer.generation.strategy import Chosen, Strategy, Until, Written

_COLDEST = 1e-6  # temperatures nearer to 0 divide scores beyond all numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling(Strategy):
    """Draws each next id at random from the head of the distribution.

    Every sample has a random generator of its own, keyed by the seed and its id, so what is written for it depends
    neither on its neighbours in the batch nor on the device.

    Args:
        temperature: divides the scores; 0 takes the most probable id (greedy), 1 draws from the model's distribution.
        top_k: draws among the k most probable ids only ([Fan et al. 2018](https://arxiv.org/abs/1805.04833)).
        top_p: draws among the fewest ids that together have this probability
            ([Holtzman et al. 2019](https://arxiv.org/abs/1904.09751)).
        min_p: drops ids less probable than this share of the most probable one
            ([Nguyen et al. 2024](https://arxiv.org/abs/2407.01082)).
        repetition_penalty: makes ids that are already written less probable, the prompt's included: positive scores are
            divided by it, negative ones multiplied ([Keskar et al. 2019](https://arxiv.org/abs/1909.05858), 4.1; they
            use 1.2). The start id does not count: nobody wrote it, and it may end answers too. 1 is none.
        n: writes n answers to each sample and ranks them by their mean log-probability (best of n).
        seed: of the draws; the same seed gives the same answers.

    Raises:
        ValueError: a number is out of its range, or several answers are asked for that would all be the same.

    Example:
        >>> Sampling(temperature=0.0).choose(torch.tensor([[0.1, 2.0, 0.3]])).tolist()
        [1]
    """

    temperature: NotNegative = 0.8
    top_k: Count | None = None
    top_p: SomeShare | None = None
    min_p: SomeShare | None = None
    repetition_penalty: Positive = 1.0
    n: int = 1
    seed: Seed = 0

    def __post_init__(self) -> None:
        if not (self.temperature == 0 or _COLDEST <= self.temperature < math.inf):
            told = f"must be at least {_COLDEST:g} and finite, or 0, which is greedy"
            raise ValueError(f"temperature={self.temperature} {told}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k={self.top_k} must be at least 1, or left out")
        for name, share in (("top_p", self.top_p), ("min_p", self.min_p)):
            if share is not None and not 0 < share <= 1:
                raise ValueError(f"{name}={share} must be above 0 and at most 1, or left out")
        if not 0 < self.repetition_penalty < math.inf:
            raise ValueError(f"repetition_penalty={self.repetition_penalty} must be above 0 and finite; 1 is none")
        if self.n < 1:
            raise ValueError(f"n={self.n} must be at least 1")
        if self.n > 1 and self.temperature == 0:
            raise ValueError(f"n={self.n} answers at temperature=0 would all be the same; raise the temperature")

    def choose(self, logits: Tensor, *, draws: Tensor | None = None, seen: Tensor | None = None) -> Tensor:
        """One id for each row.

        Args:
            logits: the scores.
            draws: a number from 0 up to 1 for each row, which decides; not read where the temperature is 0.
            seen: which ids are already written in each row, for `repetition_penalty`.

        Shapes:
            logits and bool seen `[rows, vocab_size]`, draws `[rows]` → int64 `[rows]`.

        Raises:
            ValueError: there are no draws, and the temperature is above 0.
        """
        if self.temperature == 0:
            return self._penalised(logits, seen).argmax(-1)
        if draws is None:
            raise ValueError(f"temperature={self.temperature} chooses at random; give draws")
        return pick(self.probabilities(logits, seen=seen), draws)

    def probabilities(self, logits: Tensor, *, seen: Tensor | None = None) -> Tensor:
        """The distribution that ids are drawn from, for a temperature above 0.

        Arguments as for `choose`. Of ids with the same score, the first are the more probable ones.

        Shapes:
            logits `[rows, vocab_size]` → the same, rows that add up to one.
        """
        scores = self._penalised(logits, seen).double() / self.temperature
        probabilities = scores.softmax(-1)
        if self.top_k is None and self.top_p is None and self.min_p is None:
            return probabilities
        kept = torch.ones_like(probabilities, dtype=torch.bool)
        if self.top_k is not None and self.top_k < scores.shape[-1]:
            best = scores.topk(self.top_k).values
            kept &= _head(scores, best, torch.full_like(best[:, 0], self.top_k, dtype=torch.long))
        if self.top_p is not None and self.top_p < 1:
            kept &= _head(scores, *_nucleus(scores, probabilities, self.top_p))
        if self.min_p is not None:
            kept &= probabilities >= self.min_p * probabilities.amax(-1, keepdim=True)
        return scores.masked_fill(~kept, -torch.inf).softmax(-1)

    def write(
        self, session: Session, *, stop: Collection[int], max_new_tokens: int, until: Until | None = None
    ) -> list[list[Written]]:
        """Answers to every sample of a session, the one with the highest mean log-probability first."""
        rows = [(sample, draw) for sample in range(len(session)) for draw in range(self.n)]
        session.reorder([sample for sample, _ in rows])
        chances = [_generator(self.seed, session.ids[sample], draw) for sample, draw in rows]
        ids: list[list[int]] = [[] for _ in rows]
        log_probs: list[list[float]] = [[] for _ in rows]
        ended = [False] * len(rows)
        owner = [sample for sample, _ in rows]
        for row, chosen, log_prob, stops, complete in self._steps(
            session, chances, owner, stop=stop, max_new_tokens=max_new_tokens, until=until
        ):
            log_probs[row].append(log_prob)
            ended[row] = complete
            if not stops:
                ids[row].append(chosen)
        answers: list[list[Written]] = [[] for _ in session.ids]
        for row, (sample, _) in enumerate(rows):
            mean = sum(log_probs[row]) / max(len(log_probs[row]), 1)
            answers[sample].append(
                Written(ids=tuple(ids[row]), log_probs=tuple(log_probs[row]), score=mean, ended=ended[row])
            )
        return [sorted(found, key=lambda answer: -answer.score) for found in answers]

    def stream(
        self, session: Session, *, stop: Collection[int], max_new_tokens: int, until: Until | None = None
    ) -> Iterator[Chosen]:
        """The ids of all samples as they are chosen, stop ids included; arguments as for `write`.

        Raises:
            ValueError: there is to be more than one answer, which can be ranked only once all are there.
        """
        if self.n > 1:
            raise ValueError(f"the best of n={self.n} answers is known at the end only; stream with n=1, or write them")
        chances = [_generator(self.seed, name, 0) for name in session.ids]
        for row, chosen, log_prob, stops, _ in self._steps(
            session, chances, range(len(session)), stop=stop, max_new_tokens=max_new_tokens, until=until
        ):
            yield Chosen(row, chosen, log_prob, stops)

    def _steps(
        self,
        session: Session,
        chances: Sequence[torch.Generator],
        owner: Sequence[int],
        *,
        stop: Collection[int],
        max_new_tokens: int,
        until: Until | None,
    ) -> Iterator[tuple[int, int, float, bool, bool]]:
        """Row, id, log-probability, whether it is a stop id, whether the row is complete; rows that are drop out.

        `owner` is the sample of each row.
        """
        alive = list(range(len(session)))
        ids: list[list[int]] = [[] for _ in alive]
        pace, seen = session.pace(self, session, chances, owner), self.seen(session)
        for step in range(max_new_tokens):
            found = pace.choose(seen)
            log_probs = session.log_probs.gather(1, found[:, None])[:, 0].tolist()
            chosen, going = found.tolist(), []
            for i, row in enumerate(alive):
                stops = chosen[i] in stop
                if not stops:
                    ids[row].append(chosen[i])
                complete = stops or (until is not None and until(owner[row], ids[row]))
                if not complete:
                    going.append(i)
                yield row, chosen[i], log_probs[i], stops, complete
            if not going or step == max_new_tokens - 1:
                return
            if seen is not None:
                seen = seen.scatter(1, found[:, None], True)[torch.tensor(going, device=seen.device)]
            pace.advance(going, [chosen[i] for i in going])
            alive = [alive[i] for i in going]

    def seen(self, session: Session) -> Tensor | None:
        """Which ids are already written in each row of a session, where `repetition_penalty` asks for it.

        Shapes:
            → bool `[rows, vocab_size]`.
        """
        return None if self.repetition_penalty == 1 else _seen([row[1:] for row in session.written], session.logits)

    def _penalised(self, logits: Tensor, seen: Tensor | None) -> Tensor:
        if self.repetition_penalty == 1 or seen is None:
            return logits
        lowered = torch.where(logits > 0, logits / self.repetition_penalty, logits * self.repetition_penalty)
        return torch.where(seen, lowered, logits)


class Greedy(Sampling):
    """Takes the most probable id at every step: `Sampling` at temperature 0.

    Args:
        repetition_penalty: as for `Sampling`.

    Example:
        >>> Greedy().choose(torch.tensor([[0.1, 2.0, 0.3]])).tolist()
        [1]
    """

    __slots__ = ()

    def __init__(self, *, repetition_penalty: Positive = 1.0) -> None:
        super().__init__(temperature=0.0, repetition_penalty=repetition_penalty)


def _seen(written: Sequence[Sequence[int]], logits: Tensor) -> Tensor:
    """Which ids each row holds; ids beyond those that are scored, such as a prompt's, cannot be repeated.

    Shapes:
        logits `[rows, vocab_size]` → bool `[rows, vocab_size]`.
    """
    rows = [row for row, ids in enumerate(written) for each in ids if each < logits.shape[1]]
    ids = [each for ids in written for each in ids if each < logits.shape[1]]
    seen = torch.zeros_like(logits, dtype=torch.bool)
    seen[torch.tensor(rows, dtype=torch.long), torch.tensor(ids, dtype=torch.long)] = True
    return seen


def _nucleus(scores: Tensor, probabilities: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The best scores of each row, falling, and how many of them together have a probability.

    As many as will do are taken out of the row, which is seldom more than some dozens; the row is never sorted.
    """
    k = 0
    while True:
        k = min(max(64, 8 * k), scores.shape[-1])
        best, ids = scores.topk(k)
        chances = probabilities.gather(-1, ids)
        sums = chances.cumsum(-1)
        if k == scores.shape[-1] or bool((sums[:, -1] >= top_p).all()):
            # An id stays while those before it do not have the probability yet: the first always stays.
            return best, (sums - chances < top_p).sum(-1)


def _head(scores: Tensor, best: Tensor, n: Tensor) -> Tensor:
    """The n ids of each row with the highest scores, the first of those with the same.

    Shapes:
        scores `[rows, vocab_size]`, best `[rows, k]` with the highest of them falling, n int64 `[rows]`, at most k →
        bool `[rows, vocab_size]`.
    """
    last = best.gather(-1, n[:, None] - 1)
    above, level = scores > last, scores == last
    return above | (level & (level.cumsum(-1) <= n[:, None] - above.sum(-1, keepdim=True)))


def _generator(seed: int, sample_id: str, draw: int) -> torch.Generator:
    """The random numbers of one answer; on the host, so that a seed gives the same answer on every device."""
    key = json.dumps([seed, sample_id, draw, "write"]).encode()
    number = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
    return torch.Generator().manual_seed(number >> 1)  # torch takes seeds below 2**63
