"""Answers that look wrong are drawn again at a higher temperature, as Whisper's are."""

import logging
import math
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from omniformer.core.ranges import NotNegative, Positive, Seed
from omniformer.generation.sampling import Sampling
from omniformer.generation.session import Session
from omniformer.generation.strategy import Strategy, Until, Written

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback(Strategy):
    """Takes the most probable ids, and draws an answer anew at the next temperature as long as it repeats itself or is
    improbable ([Radford et al. 2022](https://arxiv.org/abs/2212.04356), 4.5). The last one is kept, whatever it is
    like; how many are still no better is told in a warning.

    Each attempt reads what is given anew. Of speech, it is one window that is written again. Log-probabilities of what
    is written are those among the ids that may be written, by which the threshold is set.

    Args:
        temperatures: of the attempts, one after the other; 0 takes the most probable ids.
        compression_ratio: an answer looks wrong above this length of its ids in bytes by that of the same bytes
            compressed (zlib); 1.35 is what the reference library advises. None asks nothing.
        log_prob: an answer looks wrong below this mean log-probability of its ids, its stop id included; -1 is the
            paper's. None asks nothing.
        seed: of the draws.

    Raises:
        ValueError: there is no temperature, or one is below 0.

    Example:
        >>> Fallback().wrong(Written(ids=(7,) * 60, log_probs=(-0.1,) * 60, score=-0.1, ended=False), 100)
        True
        >>> Fallback().wrong(Written(ids=(7, 5, 9), log_probs=(-0.1,) * 3, score=-0.1, ended=False), 100)
        False
    """

    temperatures: Sequence[NotNegative] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    compression_ratio: Positive | None = 1.35
    log_prob: float | None = -1.0
    seed: Seed = 0

    def __post_init__(self) -> None:
        if not self.temperatures or min(self.temperatures) < 0:
            raise ValueError(f"temperatures={self.temperatures} must be at least one, each at least 0 (0 is greedy)")

    def write(
        self, session: Session, *, stop: Collection[int], max_new_tokens: int, until: Until | None = None
    ) -> list[list[Written]]:
        """One answer to each sample of a session; arguments as for `Strategy.write`."""
        found: dict[int, Written] = {}
        waiting, now, tried = list(range(len(session))), session, 0.0
        for attempt, temperature in enumerate(self.temperatures):
            now, tried = session.again(waiting) if attempt else session, temperature
            now.among_allowed = True
            # Other draws than at the temperature before: the same would often say the same again.
            drawing = Sampling(temperature=temperature, seed=self.seed + attempt)
            answers = drawing.write(now, stop=stop, max_new_tokens=max_new_tokens, until=_of(until, waiting))
            found |= {row: answer for row, (answer,) in zip(waiting, answers, strict=True)}
            waiting = [row for row in waiting if self.wrong(found[row], now.vocab_size, stop)]
            if not waiting:
                break
        if waiting:
            said = f"answers that repeat themselves or are improbable up to temperature={tried}: {len(waiting)}"
            log.warning("%s, %s", said, ", ".join(session.ids[row] for row in waiting[:5]))
        return [[found[row]] for row in range(len(found))]

    def wrong(self, written: Written, vocab_size: int, stop: Collection[int] = ()) -> bool:
        """Whether an answer repeats itself, or is improbable.

        Args:
            written: the answer.
            vocab_size: number of ids, which says how many bytes one has.
            stop: ids that end answers; the one that ended this one counts.
        """
        stopped = len(written.log_probs) > len(written.ids)
        ids = [*written.ids, *sorted(stop)[:1]] if stopped else written.ids
        repeats = self.compression_ratio is not None and compression_ratio(ids, vocab_size) > self.compression_ratio
        return repeats or (self.log_prob is not None and written.score < self.log_prob)


def compression_ratio(ids: Sequence[int], vocab_size: int) -> float:
    """The length of some ids in bytes by that of the same bytes compressed: high where they repeat themselves.

    Example:
        >>> compression_ratio([3] * 100, 50) > 5
        True
    """
    width = int(math.log2(vocab_size) / 8) + 1
    plain = b"".join(each.to_bytes(width, "little") for each in ids)
    return len(plain) / len(zlib.compress(plain))


def _of(until: Until | None, rows: Sequence[int]) -> Until | None:
    """The same question about some of the samples, by their numbers among them."""
    return None if until is None else lambda sample, ids: until(rows[sample], ids)
