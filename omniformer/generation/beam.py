"""Answers found by beam search."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from omniformer.core.ranges import Count, NotNegative
from omniformer.generation.session import Session
from omniformer.generation.strategy import Strategy, Until, Written

Stopping = Literal["certain", "likely", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamSearch(Strategy):
    """Keeps the most probable beginnings of an answer and goes on with all of them.

    An answer's score is the sum of its log-probabilities divided by `length ** length_penalty`, where the length counts
    the ids written, the stop id included: the simple form of the normalisation of
    [Wu et al. 2016](https://arxiv.org/abs/1609.08144), 7, who divide by `((5 + length) / 6) ** length_penalty`. An
    answer that reaches `max_new_tokens` without an end takes part as it is.

    Args:
        n_beams: how many beginnings are kept; 4 is usual for translation
            ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), 6.1).
        length_penalty: 0 ranks by probability, which favours short answers; 1, the default, by the mean
            log-probability; more favours long ones.
        n_best: how many answers to return for each sample.
        stopping: when the search of a sample ends ([Kasai et al. 2022](https://arxiv.org/abs/2204.05424) compare such
            rules). "certain", the default: no running beginning can win any more, however it goes on. "likely":
            `n_beams` answers have ended, and no running beginning would beat the worst of them if it ended with the
            score that it has now, which a mean over more ids may still raise; so the usual libraries search unless told
            otherwise, and so most published numbers were made. "full": `n_beams` answers have ended (first come, first
            served). The first finds the best answers, the last is the fastest.

    Raises:
        ValueError: a number is out of its range, `n_best` is above `n_beams`, or `stopping` is not known.

    Example:
        >>> BeamSearch(n_beams=8).length_penalty
        1.0
    """

    n_beams: Count = 4
    length_penalty: NotNegative = 1.0
    n_best: Count = 1
    stopping: Stopping = "certain"

    def __post_init__(self) -> None:
        if self.n_beams < 1:
            raise ValueError(f"n_beams={self.n_beams} must be at least 1")
        if not 0 <= self.length_penalty < math.inf:
            told = "must be at least 0 and finite; 0 ranks by probability"
            raise ValueError(f"length_penalty={self.length_penalty} {told}")
        if not 1 <= self.n_best <= self.n_beams:
            raise ValueError(f"n_best={self.n_best} must be in 1..{self.n_beams} (n_beams)")
        if self.stopping not in get_args(Stopping):
            raise ValueError(f"stopping={self.stopping!r} is not known; choose {', '.join(get_args(Stopping))}")

    def write(
        self, session: Session, *, stop: Collection[int], max_new_tokens: int, until: Until | None = None
    ) -> list[list[Written]]:
        """Answers to every sample of a session, the one with the highest score first."""
        finished: list[list[Written]] = [[] for _ in range(len(session))]
        beams = [_Beam(sample, 0.0, (), ()) for sample in range(len(session))]
        for step in range(max_new_tokens):
            going: list[tuple[int, _Beam]] = []
            for candidates in self._candidates(session, beams, len(stop)):
                kept: list[tuple[int, _Beam]] = []
                for rank, (row, beam) in enumerate(candidates):
                    stops = beam.ids[-1] in stop
                    if stops or (until is not None and until(beam.sample, beam.ids)):
                        # One that ends counts while it is among the best n_beams.
                        if rank < self.n_beams:
                            finished[beam.sample].append(self._written(beam, stops=stops, ended=True))
                    elif len(kept) < self.n_beams:
                        kept.append((row, beam))
                # Where the room ends, what is running takes part whatever has just ended beside it.
                last = step == max_new_tokens - 1
                if kept and (last or not self._decided(finished[kept[0][1].sample], kept[0][1], max_new_tokens)):
                    going += kept
            beams = [beam for _, beam in going]
            if not going or step == max_new_tokens - 1:
                break
            session.reorder([row for row, _ in going])
            session.advance([beam.ids[-1] for beam in beams])
        for beam in beams:
            finished[beam.sample].append(self._written(beam, stops=False, ended=False))
        return [sorted(found, key=lambda answer: -answer.score)[: self.n_best] for found in finished]

    def _candidates(self, session: Session, beams: list["_Beam"], n_stop: int) -> list[list[tuple[int, "_Beam"]]]:
        """For each sample its best continuations by one id, best first, each with the row that it continues.

        There are enough of them that `n_beams` go on even if all stop ids are among them.
        """
        samples = list(dict.fromkeys(beam.sample for beam in beams))
        group = {sample: i for i, sample in enumerate(samples)}
        log_probs = session.log_probs.double()
        before = torch.tensor([beam.total for beam in beams], dtype=torch.float64, device=log_probs.device)
        totals = log_probs + before[:, None]
        rows: list[list[int]] = [[] for _ in samples]
        for row, beam in enumerate(beams):
            rows[group[beam.sample]].append(row)
        widest, vocab_size = max(map(len, rows)), log_probs.shape[1]
        padded = totals.new_full((len(samples), widest, vocab_size), -torch.inf)
        place = torch.tensor([place for each in rows for place in range(len(each))], device=totals.device)
        owner = torch.tensor([i for i, each in enumerate(rows) for _ in each], device=totals.device)
        padded[owner, place] = totals[torch.tensor([row for each in rows for row in each], device=totals.device)]
        k = min(self.n_beams * (1 + n_stop), widest * vocab_size)
        best, flat = padded.flatten(1).topk(k)
        return self._grown(beams, rows, log_probs, best, flat)

    @staticmethod
    def _grown(
        beams: list["_Beam"], rows: list[list[int]], log_probs: Tensor, best: Tensor, flat: Tensor
    ) -> list[list[tuple[int, "_Beam"]]]:
        vocab_size = log_probs.shape[1]
        found = []
        for mine, totals, places in zip(rows, best.tolist(), flat.tolist(), strict=True):
            grown = []
            for total, place in zip(totals, places, strict=True):
                if total == -float("inf"):
                    break
                row, chosen = mine[place // vocab_size], place % vocab_size
                old = beams[row]
                log_prob = total - old.total
                grown.append((row, _Beam(old.sample, total, (*old.ids, chosen), (*old.log_probs, log_prob))))
            found.append(grown)
        return found

    def _decided(self, finished: list[Written], best: "_Beam", max_new_tokens: int) -> bool:
        """Whether the search of a sample is over, as `stopping` says.

        Log-probabilities only add to the best running beginning's loss, so that its score is at most what it has now,
        spread over the most tokens.
        """
        needed = self.n_best if self.stopping == "certain" else self.n_beams
        if len(finished) < needed or self.stopping == "full":
            return len(finished) >= needed
        bar = sorted((answer.score for answer in finished), reverse=True)[needed - 1]
        length = max_new_tokens if self.stopping == "certain" else len(best.ids)
        return bar >= best.total / length**self.length_penalty

    def _written(self, beam: "_Beam", *, stops: bool, ended: bool) -> Written:
        return Written(
            ids=beam.ids[:-1] if stops else beam.ids,
            log_probs=beam.log_probs,
            score=beam.total / max(len(beam.ids), 1) ** self.length_penalty,
            ended=ended,
        )


@dataclass(frozen=True, slots=True)
class _Beam:
    """The beginning of an answer: its sample, the sum of its log-probabilities, its ids and theirs."""

    sample: int
    total: float
    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
