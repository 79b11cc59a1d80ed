"""What is written, and the contract of those who decide what to write."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from omniformer.generation.session import Session

Until = Callable[[int, Sequence[int]], bool]
"""Says of a sample, by its number, and the ids written for it whether they are complete, for example because a stop
sequence has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One answer to one sample.

    Args:
        ids: what was written, without the start id, a prompt or the stop id.
        log_probs: the model's log-probability of each of these ids, and of the stop id where one ended the answer;
            guidance included, temperature, truncation and penalties not.
        score: what answers to the same sample are ranked by: the better, the higher.
        ended: whether the model ended the answer; else it reached the most tokens allowed.
        spans: of speech with points in time, from when to when in seconds which ids were said; else none.
    """

    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    score: float
    ended: bool
    spans: tuple[tuple[float, float, tuple[int, ...]], ...] = ()


class Chosen(NamedTuple):
    """One id as it is chosen.

    Args:
        sample: number of the sample in its batch.
        id: the id.
        log_prob: the model's log-probability of it.
        stops: whether it is a stop id, which is no part of the answer.
    """

    sample: int
    id: int
    log_prob: float
    stops: bool


class Strategy(ABC):
    """Decides which of all possible answers a model writes."""

    @abstractmethod
    def write(
        self, session: Session, *, stop: Collection[int], max_new_tokens: int, until: Until | None = None
    ) -> list[list[Written]]:
        """Answers to every sample of a session, the best first.

        Args:
            session: the model, which has read its prompts.
            stop: ids that end an answer.
            max_new_tokens: when to end at the latest.
            until: asked after each id whether an answer is complete; by default only stop ids end one.
        """
