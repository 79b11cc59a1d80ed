"""What a server does with inputs: several of one kind of work, whoever sent them, are one batch."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

from torch import Tensor

from omniformer.batch import Sample
from omniformer.generation import Penalties, Sampling, Writer
from omniformer.generation.answer import Answer
from omniformer.generation.makers import Maker
from omniformer.generation.texts import Streamed
from omniformer.inputs import Named, of_each
from omniformer.prediction import Prediction
from omniformer.predictor import Predictor

Result = TypeVar("Result")
_DRAWING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed", "n")


class Work(ABC, Generic[Result]):
    """A kind of work with its options; two that are equal may share a batch."""

    @abstractmethod
    def run(self, predictor: Predictor, named: Named) -> Sequence[Result | Exception]:
        """The result of each input, or why there is none; none depends on the others.

        Args:
            predictor: the model, which nobody else uses meanwhile.
            named: inputs with their names.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicting(Work[list[Prediction]]):
    """What the model says of inputs.

    Args:
        member: which task answers; None for the one that fits each input.
        top: how many words to name for a hidden one.
    """

    member: str | None = None
    top: int = 5

    def run(self, predictor: Predictor, named: Named) -> Sequence[list[Prediction] | Exception]:
        said = predictor.outcomes(named, member=self.member, top=self.top, batch_size=len(named))
        return [each for _, each in said]


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding(Work[Tensor]):
    """Vectors of inputs.

    Args:
        member: as for `Predicting`.
    """

    member: str | None = None

    def run(self, predictor: Predictor, named: Named) -> Sequence[Tensor | Exception]:
        return of_each(lambda some: list(predictor.embed_named(some, member=self.member, batch_size=len(some))), named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How something is to be written; what is None is left to the task.

    Args:
        max_new_tokens: when to end at the latest.
        min_new_tokens: how many ids an answer has at least.
        temperature: as for `Sampling`, and so are the next ones.
        presence_penalty: taken from the score of each id written already.
        frequency_penalty: the same, for each time that it was written.
        stop: texts that end an answer.
        steps: of a painter, from noise to picture.
        guidance: how much more what is given shall count.
        size: height and width of a picture.
        beam: of a transcriber, how many beginnings its search keeps.
    """

    max_new_tokens: int | None = None
    min_new_tokens: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    n: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] | None = None
    steps: int | None = None
    guidance: float | None = None
    size: tuple[int, int] | None = None
    beam: int | None = None

    def options(self, maker: Maker) -> dict[str, Any]:
        """The options of `maker.write`.

        Raises:
            ValueError: it has no use for one of them; names it.
        """
        asked = {name: value for name, value in asdict(self).items() if value is not None}
        if not isinstance(maker, Writer):
            known = inspect.signature(maker.write).parameters
            if wrong := sorted(asked.keys() - known.keys()):
                raise ValueError(f"{maker.head!r} has no use for {', '.join(wrong)}; leave that out")
            return asked
        if wrong := sorted(asked.keys() & {"steps", "beam"}):
            raise ValueError(
                f"{maker.head!r} writes token by token and has no use for {', '.join(wrong)}; leave that out"
            )
        options = {name: value for name, value in asked.items() if name not in (*_DRAWING, *_PENALTIES)}
        if drawn := {name: asked[name] for name in _DRAWING if name in asked}:
            options["strategy"] = _drawn(maker, drawn)
        if penalties := {short: asked[name] for name, short in _PENALTIES.items() if asked.get(name)}:
            options["adjust"] = (Penalties(**penalties),)
        return options


_PENALTIES = {"presence_penalty": "presence", "frequency_penalty": "frequency"}


def _drawn(maker: Writer, drawn: dict[str, Any]) -> Sampling:
    """What was asked for, with what the task does by itself for the rest."""
    usual = {name: getattr(maker.usual, name) for name in _DRAWING}
    return Sampling(**usual | drawn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was written for a prompt.

    Args:
        answers: the best first.
        read: how many tokens the model read before.
    """

    answers: list[Answer]
    read: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing(Work[Made]):
    """What the model writes for prompts.

    Args:
        member: which task writes, where several do.
        wish: how.
        usual: options of `maker.write` where the wish says nothing, such as what the files of a chat model recommend.
    """

    member: str | None = None
    wish: Wish = field(default_factory=Wish)
    usual: Mapping[str, Any] = field(default_factory=dict)

    def run(self, predictor: Predictor, named: Named) -> Sequence[Made | Exception]:
        maker = predictor.writer(self.member)
        options = {**self.usual, **self.wish.options(maker), "batch_size": len(named)}
        read = of_each(lambda some: [maker.read([raw])[0] for _, raw in some], named)
        found: dict[int, Made | Exception] = {}
        waiting: list[tuple[int, Sample]] = []
        for i, each in enumerate(read):
            if isinstance(each, Exception):
                found[i] = each
            else:
                waiting.append((i, each))
        for batch in _apart(waiting):
            made = of_each(lambda part: maker.write([raw for _, raw in part], **options), [named[i] for i, _ in batch])
            for (i, sample), each in zip(batch, made, strict=True):
                found[i] = each if isinstance(each, Exception) else Made(answers=each, read=sample.n_tokens)
        return [found[i] for i in range(len(named))]

    def stream(self, predictor: Predictor, raw: Any) -> Streamed:
        """The text for one prompt, piece by piece.

        Raises:
            ValueError: the task writes no text token by token, or an option does not fit.
        """
        maker = predictor.writer(self.member)
        if not isinstance(maker, Writer):
            raise ValueError(f"{maker.head!r} does not write token by token, and cannot be streamed")
        return maker.stream(raw, **{**self.usual, **self.wish.options(maker)})


def _apart(samples: Sequence[tuple[int, Sample]]) -> list[list[tuple[int, Sample]]]:
    """Prompts in as many batches as it takes that none holds two of which the model reads the same: those would be
    drawn with different random numbers, and one client's answer would depend on another's question.
    """
    batches: list[dict[str, tuple[int, Sample]]] = []
    for place, sample in samples:
        batch = next((each for each in batches if sample.id not in each), None)
        if batch is None:
            batches.append(batch := {})
        batch[sample.id] = (place, sample)
    return [list(batch.values()) for batch in batches]
