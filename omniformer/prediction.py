"""What a model says of one input, in words that people read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from omniformer.batch import Sample
from omniformer.generation.filler import Filler
from omniformer.generation.places import Places, answer_in, places_of
from omniformer.generation.transcriber import Transcriber
from omniformer.heads.head import Answers
from omniformer.inputs import Named, batch_of, sample_of
from omniformer.inputs.fitting import fitted
from omniformer.inputs.member import Member
from omniformer.model import OmniFormer


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model says of one input.

    Args:
        input: the input's name: its path, or its place in the list.
        member: the task that answered.
        probabilities: by class name; for a head that reads every token, of token `token`; for a hidden token, by the
            words that may stand there, the best first. Empty for a regression.
        values: predicted numbers of a regression.
        token: which token, for a head that reads every one (for example the nodes of a graph).
        text: what is said in the input, for a task that writes it down frame by frame; or what stands at `place`.
        place: from which to before which character of the input's text the token stands, or the answer; of the second
            text where the input is a pair. None where the tokenizer cannot say.
        span: from which to which token the answer stands, for a task that points at it.
        score: the probability of the most probable class or word, or of that answer; None for numbers.
    """

    input: str
    member: str
    probabilities: Mapping[str, float]
    values: tuple[float, ...] = ()
    token: int | None = None
    text: str | None = None
    place: tuple[int, int] | None = None
    span: tuple[int, int] | None = None
    score: float | None = None

    @property
    def label(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    def to_dict(self) -> dict[str, Any]:
        """The prediction as plain JSON values: a row of a table, with `label` and `score`, without what it has not."""
        plain: dict[str, Any] = {"input": self.input, "member": self.member}
        if self.token is not None:
            plain["token"] = self.token
        if self.text is not None:
            plain["text"] = self.text
        plain |= {name: list(each) for name, each in (("place", self.place), ("span", self.span)) if each is not None}
        if self.probabilities:
            plain["label"] = self.label
        if self.score is not None:
            plain["score"] = self.score
        if self.probabilities:
            plain["probabilities"] = dict(self.probabilities)
        return plain | ({"values": list(self.values)} if self.values else {})


def predictions(
    model: OmniFormer, task: str, member: Member, named: Named, *, top: int = 5, truncate: bool = True
) -> list[list[Prediction]]:
    """What a task says of each input, read as its head says that it is read.

    Args:
        model: in evaluation mode.
        task: its name.
        member: what belongs to it.
        named: inputs with their names.
        top: how many words to name for a hidden token.
        truncate: whether texts that are longer than the model can read are cut; else they are refused, as those with
            hidden tokens always are.

    Raises:
        ValueError: it makes or compares things instead, and says what to call; or an input cannot be read.
    """
    if model.makes(task) == "hidden":
        return _words(model, task, member, named, top)
    head = model.head(task)
    if head.instead:
        raise ValueError(f"{task!r} {head.instead}")
    return _READ[head.answers](model, task, member, named, truncate)


def _rows(model: OmniFormer, task: str, member: Member, named: Named, truncate: bool) -> list[list[Prediction]]:
    """A prediction for each sample, or for each of its tokens."""
    samples, outputs = _outputs(model, task, member, named, truncate)
    if not model.head(task).per_token:
        return [[of_sample(name, task, row, member.labels)] for (name, _), row in zip(named, outputs, strict=True)]
    return [
        of_tokens(name, task, rows, member.labels, places)
        for name, rows, places in _of_each(member, named, samples, outputs)
    ]


def _spans(model: OmniFormer, task: str, member: Member, named: Named, truncate: bool) -> list[list[Prediction]]:
    """Where the answer stands in each sample."""
    samples, outputs = _outputs(model, task, member, named, truncate)
    return [[of_answer(name, task, rows, places)] for name, rows, places in _of_each(member, named, samples, outputs)]


def _transcripts(model: OmniFormer, task: str, member: Member, named: Named, truncate: bool) -> list[list[Prediction]]:
    """What the frames of each sample say."""
    writer = Transcriber.of(model, task, member)
    answers = writer.transcribe([sample_of(name, raw, writer.given) for name, raw in named])
    return [[Prediction(input=each.input, member=task, probabilities={}, text=str(each.content))] for each in answers]


def _words(model: OmniFormer, task: str, member: Member, named: Named, top: int) -> list[list[Prediction]]:
    """What may stand at each hidden token."""
    found = Filler(model, task, tokenizers=member.tokenizers).fill(named, top=top)
    return [
        [replace(of_probabilities(name, task, hole.probabilities), token=hole.token) for hole in holes]
        for (name, _), holes in zip(named, found, strict=True)
    ]


_READ: dict[Answers, Callable[[OmniFormer, str, Member, Named, bool], list[list[Prediction]]]] = {
    "rows": _rows,
    "span": _spans,
    "transcript": _transcripts,
}


def _outputs(model: OmniFormer, task: str, member: Member, named: Named, truncate: bool) -> tuple[list[Sample], Tensor]:
    """The inputs as samples, and what the head predicts of all of them."""
    samples = [sample_of(name, raw, member.tokenizers) for name, raw in named]
    samples = fitted(samples, model, member.tokenizers) if truncate else samples
    return samples, model.head(task).predict(model(batch_of(samples, model), task)).cpu()


def _of_each(
    member: Member, named: Named, samples: Sequence[Sample], outputs: Tensor
) -> Iterator[tuple[str, Tensor, Places | None]]:
    """Of each input its name, the rows of its tokens, and where they stand in its text."""
    rows = outputs.split([len(sample) for sample in samples])
    for (name, raw), mine in zip(named, rows, strict=True):
        places = places_of(raw, member.tokenizers)
        yield name, mine, None if places is None else places.cut(len(mine))


def of_sample(name: str, member: str, row: Tensor, labels: Sequence[str]) -> Prediction:
    """The prediction for a whole input: classes, or numbers where there are no labels.

    Args:
        name: of the input.
        member: the task that answers.
        row: what its head predicts.
        labels: the names of the classes; empty for a regression.

    Shapes:
        row `[outputs]`.

    Example:
        >>> of_sample("seven.png", "digits", torch.tensor([0.25, 0.75]), ["one", "seven"]).label
        'seven'
    """
    if not labels:
        return Prediction(input=name, member=member, probabilities={}, values=tuple(row.tolist()))
    return of_probabilities(name, member, dict(zip(labels, row.tolist(), strict=True)))


def of_probabilities(name: str, member: str, probabilities: Mapping[str, float]) -> Prediction:
    """The prediction of one of several classes or words, of which one at least is given."""
    return Prediction(input=name, member=member, probabilities=probabilities, score=max(probabilities.values()))


def of_tokens(
    name: str, member: str, rows: Tensor, labels: Sequence[str], places: Places | None = None
) -> list[Prediction]:
    """One prediction for each token; for tokens of text only, where it is known which ones these are.

    Args:
        name: of the input.
        member: the task that answers.
        rows: what its head predicts of each token.
        labels: the names of the classes; empty for numbers.
        places: where tokens stand in the text.

    Shapes:
        rows `[tokens, outputs]`.
    """
    found = [replace(of_sample(name, member, row, labels), token=token) for token, row in enumerate(rows)]
    if places is None:
        return found
    at = {token: places.of(token, token) for token in places.text.ge(0).nonzero().flatten().tolist()}
    return [replace(found[token], text=text, place=place) for token, (text, place) in at.items()]


def of_answer(name: str, member: str, rows: Tensor, places: Places | None = None) -> Prediction:
    """Where the answer stands.

    Args:
        name: of the input.
        member: the task that answers.
        rows: the scores of each token, to begin and to end an answer.
        places: where tokens stand in the text, and which of them an answer may have.

    Shapes:
        rows `[tokens, 2]`.

    Raises:
        ValueError: there is no text that an answer could stand in; names the input.
    """
    allowed = torch.ones(len(rows), dtype=torch.bool) if places is None else places.answers
    answer = answer_in(rows, allowed)
    if answer is None:
        raise ValueError(f"{name} has no text that an answer could stand in; give a pair: a question and a text")
    first, last, score = answer
    text, place = (None, None) if places is None else _trimmed(*places.of(first, last))
    found = Prediction(input=name, member=member, probabilities={}, text=text, place=place)
    return replace(found, span=(first, last), score=score)


def _trimmed(text: str, place: tuple[int, int]) -> tuple[str, tuple[int, int]]:
    """An answer without the blanks at its ends, which tokens of words bring along, and where it stands then."""
    begin = place[0] + len(text) - len(text.lstrip())
    return (text.strip(), (begin, begin + len(text.strip()))) if text.strip() else (text, place)
