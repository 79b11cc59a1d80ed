"""How ids say what language is spoken, and when: the words of Whisper for both."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omniformer.core.ranges import Natural
from omniformer.generation.adjusting import Adjustment


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """How a model that writes down speech says language and time by its ids.

    Args:
        begin: the ids with which an answer begins. Where none of `languages` is among them, the most probable one is
            found in the sound, and stands behind the first.
        untimed: says in a beginning that no points in time are written; the ids behind it are the points.
        stop: ends an answer; the ids below it are text.
        languages: the ids of languages; none for a model of one.
        latest_first: how many points after the beginning of a window the first one written may lie; None for no limit.
    """

    begin: Sequence[int]
    untimed: Natural
    stop: Natural
    languages: Sequence[int] = ()
    latest_first: Natural | None = None


@dataclass(frozen=True, slots=True)
class Timestamps(Adjustment):
    """Where points in time may stand: one in front, then pairs between texts that never go back, and a point wherever
    all of them together are more probable than any text ([Radford et al. 2022](https://arxiv.org/abs/2212.04356), 4.5).

    Args:
        speech: which ids they are.

    Example:
        >>> speech = Speech(begin=[0], stop=2, untimed=3)  # 4 and 5 are points, 0 and 1 texts
        >>> Timestamps(speech)(torch.zeros(1, 6), before=[[0]], written=[[]]).tolist()
        [[-inf, -inf, -inf, -inf, 0.0, 0.0]]
        >>> Timestamps(speech)(torch.tensor([[9.0, 0, 0, 0, 0, 0]]), before=[[0]], written=[[4, 1]]).tolist()
        [[9.0, 0.0, 0.0, -inf, -inf, 0.0]]
    """

    speech: Speech

    def __call__(self, scores: Tensor, *, before: Sequence[Sequence[int]], written: Sequence[Sequence[int]]) -> Tensor:
        scores, first = scores.clone(), self.speech.untimed + 1
        scores[:, self.speech.untimed] = -torch.inf
        for row, ids in zip(scores, written, strict=True):
            self._restrict(row, ids, first)
        shares = scores.float().log_softmax(-1)
        timed = shares[:, first:].logsumexp(-1) > shares[:, :first].amax(-1)
        scores[:, :first] = scores[:, :first].masked_fill(timed[:, None], -torch.inf)
        return scores

    def _restrict(self, row: Tensor, ids: Sequence[int], first: int) -> None:
        """Forbids what may not stand behind some ids, in place."""
        if not ids:
            row[:first] = -torch.inf
            if self.speech.latest_first is not None:
                row[first + self.speech.latest_first + 1 :] = -torch.inf
            return
        opens = ids[-1] >= first and (len(ids) < 2 or ids[-2] >= first)  # a text comes next
        closes = ids[-1] >= first and not opens  # the next text may begin, or the answer end
        if opens:
            row[first:] = -torch.inf
        if closes:
            row[: self.speech.stop] = -torch.inf
        if points := [each for each in ids if each >= first]:
            row[first : points[-1] + (not closes)] = -torch.inf
