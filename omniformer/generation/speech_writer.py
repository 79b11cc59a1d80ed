"""Speech of any length, written down window by window with points in time, as Whisper does."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from omniformer_tokenizers import Tokens
from torch.nn import functional

from omniformer.batch import Sample
from omniformer.generation.adjusting import Adjustment, Bias
from omniformer.generation.constrained import Constrained
from omniformer.generation.room import room_for
from omniformer.generation.session import Session
from omniformer.generation.speech import Speech, Timestamps
from omniformer.generation.strategy import Chosen, Written
from omniformer.generation.write import write
from omniformer.generation.writer import Writer
from omniformer.inputs.member import Member
from omniformer.model import OmniFormer

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class _Heard:
    """A sound as far as it is written down.

    Args:
        sample: the whole sound, with the beginning of each answer.
        window: tokens that are read at once.
        step: seconds of a token.
    """

    sample: Sample
    window: int
    step: float
    place: int = 0
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    spans: list[tuple[float, float, tuple[int, ...]]] = field(default_factory=list)
    ended: bool = True

    @property
    def left(self) -> int:
        """Tokens that no window has been read of."""
        return len(self.sample) - self.place

    @property
    def next(self) -> Sample:
        """The next window, filled up with zeros."""
        return replace(_window(self.sample, self.place, self.window), id=f"{self.sample.id} from {self.place}")

    def take(self, written: Written, first: int) -> None:
        """Keeps what is said up to the last pair of points, from which the next window begins; all of it where there is
        no pair, or silence behind the last point.
        """
        ids, held = written.ids, min(self.left, self.window)
        points = [each >= first for each in ids]
        cuts = [i + 1 for i in range(len(ids) - 1) if points[i] and points[i + 1]]
        silent = points[-2:] == [False, True]
        if cuts and silent:
            cuts.append(len(ids))
        elif cuts:
            cuts[-1] += 1  # the point that opens what was not finished
        for start, end in zip([0, *cuts], cuts, strict=False):
            last = ids[end - 1 if end < cuts[-1] or silent else end - 2]
            self._note(ids[start] - first, last - first, ids[start:end])
        if not cuts:
            said = [each - first for each in ids if each >= first]
            self._note(0, said[-1] if said and said[-1] else held, ids)
        kept = cuts[-1] if cuts else len(ids)
        self.ids += ids[:kept]
        self.log_probs += written.log_probs[:kept]
        self.ended = written.ended
        self.place += held if silent or not cuts else max(ids[kept - 2] - first, 1)

    def _note(self, start: int, end: int, ids: tuple[int, ...]) -> None:
        self.spans.append(((self.place + start) * self.step, (self.place + end) * self.step, ids))

    @property
    def written(self) -> Written:
        """All windows as one answer, whose score is the mean over all ids."""
        mean = sum(self.log_probs) / max(len(self.log_probs), 1)
        ids, log_probs, spans = tuple(self.ids), tuple(self.log_probs), tuple(self.spans)
        return Written(ids=ids, log_probs=log_probs, score=mean, ended=self.ended, spans=spans)


class SpeechWriter(Writer):
    """Writes down speech of any length, in the language that is spoken.

    A sound of one window is written without points in time unless `begin` leaves out the id that says so. A longer one
    is read window by window, each from the last point at which something had been said to its end: one answer, with
    `segments`. `max_new_tokens` and `min_new_tokens` then count the ids of a window, by default as many as the model
    has places for.

    Args:
        model: as for `Writer`, as is the rest.
        speech: how its ids say language and time.

    Raises:
        ValueError: as for `Writer`, or the tokenizer of sounds has no window.
    """

    def __init__(self, model: OmniFormer, head: str, *, speech: Speech, **options: Any) -> None:
        super().__init__(model, head, **options)
        self.speech = speech
        ((name, sounds),) = self.given.items()
        tokenizer: Any = sounds
        if getattr(tokenizer, "window", None) is None:
            raise ValueError(f"{head!r} writes window by window; give its tokenizer of {name!r} a length in seconds")
        self.given, self.window = {name: tokenizer.uncut}, tokenizer.window
        self.step = tokenizer.hop_length * tokenizer.frames_per_token / tokenizer.sample_rate

    @classmethod
    def of(cls, model: OmniFormer, task: str, member: Member) -> "SpeechWriter":
        """The writer of a task of a trained model."""
        assert member.speech is not None
        options = {name: getattr(member, name) for name in ("tokenizers", "given", "allowed")}
        return cls(model, task, speech=member.speech, **options)

    def _begun(self, name: str, prompt: Any, blank: Tokens | None, begin: Sequence[int | str]) -> Sample:
        """A sound whose answer has begun; without points in time only where one window holds it."""
        sample = super()._begun(name, prompt, blank, begin or self.speech.begin)
        if len(sample) <= self.window:
            return sample
        return self._beginning(sample, [each for each in _ids(sample) if each != self.speech.untimed])

    def _beginning(self, sample: Sample, ids: Sequence[int]) -> Sample:
        places = torch.arange(float(len(ids)))[:, None]
        return replace(sample, answer=[Tokens(values=torch.tensor(ids), positions=places, modality=self.modality)])

    def _timed(self, sample: Sample) -> bool:
        return self.speech.untimed not in _ids(sample)

    def _kind(self, sample: Sample, asked: int | None) -> Any:
        """And whether it has points in time."""
        return super()._kind(sample, asked), self._timed(sample)

    def _spoken(self, samples: Sequence[Sample]) -> list[Sample]:
        """The samples, with the language that is spoken where their beginnings name none."""
        known, found = sorted(self.speech.languages), list(samples)
        lacking = [i for i, each in enumerate(samples) if known and not set(known) & set(_ids(each))]
        if not lacking:
            return found
        starts = [self._start(samples[i]) for i in lacking]
        begun = [
            self._beginning(_window(samples[i], 0, self.window), _ids(samples[i])[at : at + 1])
            for i, at in zip(lacking, starts, strict=True)
        ]
        scores = Session(self.model, self.head, self._collate(begun), max_new_tokens=1).logits
        for i, at, best in zip(lacking, starts, scores[:, known].argmax(1).tolist(), strict=True):
            ids = _ids(samples[i])
            found[i] = self._beginning(samples[i], [*ids[: at + 1], known[best], *ids[at + 1 :]])
        return found

    def _start(self, sample: Sample) -> int:
        """The place of the id that starts a transcript, before which a prompt may stand."""
        ids, start = _ids(sample), self.speech.begin[0]
        return ids.index(start) if start in ids else 0

    def _written(self, samples: Sequence[Sample], **options: Any) -> list[list[Written]]:
        spoken = self._spoken(samples)
        if not self._timed(spoken[0]):
            return super()._written(spoken, **options)
        heard = [self._heard(each) for each in spoken]
        while waiting := [each for each in heard if each.left > 0]:
            self._read(waiting, **options)
        return [[each.written] for each in heard]

    def _chosen(self, sample: Sample, **options: Any) -> Iterator[Chosen]:
        (spoken,) = self._spoken([sample])
        return self._windows(spoken, **options) if self._timed(spoken) else super()._chosen(spoken, **options)

    def _windows(self, sample: Sample, **options: Any) -> Iterator[Chosen]:
        """The ids of each window as soon as it is read."""
        heard = self._heard(sample)
        while heard.left > 0:
            known = len(heard.ids)
            self._read([heard], **options)
            for chosen, log_prob in zip(heard.ids[known:], heard.log_probs[known:], strict=True):
                yield Chosen(0, chosen, log_prob, stops=False)
        if heard.ended:
            yield Chosen(0, self.speech.stop, 0.0, stops=True)

    def _heard(self, sample: Sample) -> _Heard:
        return _Heard(sample=sample, window=self.window, step=self.step)

    def _read(
        self,
        heard: Sequence[_Heard],
        *,
        adjust: Sequence[Adjustment] = (),
        until: Any = None,
        max_new_tokens: int | None = None,
        **options: Any,
    ) -> None:
        """Writes down the next window of each sound."""
        if until is not None or any(isinstance(each, Constrained) for each in adjust):
            raise ValueError(
                f"{self.head!r} writes this sound window by window, where an answer has no form and no text that ends "
                "it; leave out stop, schema and regex"
            )
        never = {} if self.allowed is None else dict.fromkeys(self.allowed.never, -torch.inf)
        windows = [each.next for each in heard]
        room = room_for(windows[0], self.model, self.modality) if max_new_tokens is None else max_new_tokens
        # What is never written counts as no text where points are weighed against it.
        rules = (*adjust, *([Bias(never)] if never else []), Timestamps(self.speech))
        batch = self._collate(windows)
        found = write(self.model, self.head, batch, adjust=rules, max_new_tokens=room, **options)
        if len(found[0]) > 1:
            log.warning("of the %s answers to a window the best is kept: a sound has one transcript", len(found[0]))
        for each, written in zip(heard, found, strict=True):
            each.take(written[0], self.speech.untimed + 1)


def _ids(sample: Sample) -> list[int]:
    """What is written of a sample."""
    return [each for piece in sample.answer for each in piece.values.tolist()]


def _window(sample: Sample, start: int, n: int) -> Sample:
    """So many tokens of a sound from a place, filled up with zeros; a sample without sound as it is."""
    pieces = []
    for piece in sample.pieces:
        values = piece.values[start : start + n]
        values = functional.pad(values, (0, 0, 0, n - len(values)))
        pieces.append(Tokens(values=values, positions=torch.arange(float(n))[:, None], modality=piece.modality))
    return replace(sample, pieces=pieces)
