"""A trained model ready to use: raw inputs in, named predictions, texts, pictures and sounds out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from omniformer_tokenizers import Tokenizer
from torch import Tensor

from omniformer.batch import Batch, Sample, collate
from omniformer.embeddings import Pooling, embeddings, only_modality
from omniformer.generation.allowed import Allowed
from omniformer.generation.answer import Answer
from omniformer.generation.filler import Filler, finds_hidden, writes_nothing
from omniformer.generation.painter import Painter
from omniformer.generation.places import places_of
from omniformer.generation.transcriber import Transcriber
from omniformer.generation.writer import Writer
from omniformer.heads.contrastive import ContrastiveHead
from omniformer.heads.ctc import CTCHead
from omniformer.heads.denoising import DenoisingHead
from omniformer.heads.head import Head
from omniformer.heads.next_token import NextTokenHead
from omniformer.heads.span import SpanHead
from omniformer.inputs import (
    Named,
    Refused,
    modality_of,
    named_inputs,
    need_room,
    need_text,
    of_readable,
    reads_text,
    sample_of,
)
from omniformer.model import OmniFormer
from omniformer.prediction import Prediction, need_classes, of_answer, of_probabilities, of_sample, of_tokens

Kind = TypeVar("Kind")
# Heads of tasks that make something of their own.
_MAKING = (NextTokenHead, DenoisingHead, CTCHead)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What belongs to one task of a trained model.

    Args:
        tokenizers: by modality.
        labels: the names of its classes; empty where there are none.
        max_seq_len: the longest sequence it was trained on, in tokens; None where samples have their own lengths.
        given: for a task that writes, the modalities that it reads first: pictures for captions, a sentence for its
            translation. Empty for a language model, which goes on from its prompt.
        allowed: for a task that writes texts, which ids they may hold, and where; all, everywhere by default.
    """

    tokenizers: Mapping[str, Tokenizer]
    labels: tuple[str, ...] = ()
    max_seq_len: int | None = None
    given: tuple[str, ...] = ()
    allowed: Allowed | None = None


class Predictor:
    """A trained model with its tokenizers and label names; `omniformer.load` makes it.

    Args:
        model: embedders, core and heads; put into evaluation mode.
        members: by the name of their head in the model; none for a model that only reads.
        tokenizers: by modality, of a model without members, for `embed`. Members have their own.
    """

    def __init__(
        self, model: OmniFormer, members: Mapping[str, Member], *, tokenizers: Mapping[str, Tokenizer] | None = None
    ) -> None:
        self.model = model.eval()
        self.members = dict(members)
        self.tokenizers = dict(tokenizers or {})

    def predict(
        self,
        inputs: Any,
        *,
        member: str | None = None,
        batch_size: int = 64,
        top: int = 5,
        refused: Refused | None = None,
    ) -> list[Prediction]:
        """Predictions for raw inputs of any modality, in order.

        A task that reads every token has one for each token, one that finds hidden tokens one for each `[MASK]` of a
        text, and one that points at answers one for each pair of a question and the text that it is about.

        Args:
            inputs: a list of files as `pathlib.Path` (`.png`, `.wav`, `.txt`, `.json`, ...), or of raw samples as the
                tokenizers take them: pictures as Pillow images, tensors `[channels, height, width]` or numpy arrays
                `[height, width, channels]`, waveforms, graphs, strings, which are always texts, pairs of strings as
                tuples. The path of a folder stands for the files in it. For a task that is given several modalities, a
                list of these, or a mapping by modality; any may be left out. One input by itself is a list of one.
            member: which task answers; by default the one that fits each input's modality.
            batch_size: inputs in one pass; results do not depend on it.
            top: how many words to name for each hidden token, the most probable ones; classes are named all.
            refused: called with the error of each input that cannot be read, so that the others are predicted; None
                raises the first.

        Raises:
            ValueError: no task of this model fits an input, or several do; or a file cannot be read. Names the input.
        """
        named = named_inputs(inputs, refused)
        predicted = partial(self._predicted, member=member, batch_size=batch_size, top=top)
        if refused is None:
            return predicted(named)
        chunks = [named[start : start + batch_size] for start in range(0, len(named), batch_size)]
        return [each for chunk in chunks for each in of_readable(predicted, chunk, refused)]

    def _predicted(self, named: Named, *, member: str | None, batch_size: int, top: int) -> list[Prediction]:
        """Predictions for inputs with their names."""
        routed = [(name, raw, member or self.route(raw, name)) for name, raw in named]
        results: dict[int, list[Prediction]] = {}
        for task, chunk in _batches([task for _, _, task in routed], batch_size):
            answers = self._predict([routed[i][:2] for i in chunk], task, top)
            results.update(zip(chunk, answers, strict=True))
        return [prediction for i in range(len(routed)) for prediction in results[i]]

    def writer(self, member: str | None = None) -> Writer | Painter | Transcriber:
        """The task that makes texts, pictures or sounds: token by token, pictures out of noise, texts frame by frame.

        Args:
            member: its name, where the model has several.

        Raises:
            ValueError: no task of this model writes, or several do.
        """
        hidden = [name for name in self.members if self._finds_hidden(name)]
        if member in hidden or (member is None and hidden and not any(map(self._makes, self.members))):
            raise ValueError(writes_nothing(member or hidden[0]))
        name = self._only(_MAKING, member, "writes nothing", "one with modality=text")
        task, head = self.members[name], self.model.heads[name]
        if isinstance(head, DenoisingHead):
            return Painter(self.model, name, tokenizers=task.tokenizers, given=task.given)
        if isinstance(head, CTCHead):
            return Transcriber(self.model, name, tokenizers=task.tokenizers, given=task.given)
        return Writer(
            self.model,
            name,
            tokenizers=task.tokenizers,
            given=task.given,
            max_seq_len=task.max_seq_len,
            allowed=task.allowed,
        )

    def generate(self, prompts: Any, *, member: str | None = None, **options: Any) -> list[list[Answer]]:
        """What the model writes for each prompt, the best answer first: `writer(member).write(prompts, **options)`.

        Args:
            prompts: texts to go on from, or what is to be answered; see `omniformer.generation.Writer`.
            member: which task writes, where the model has several.
            **options: of `Writer.write`: `strategy`, `max_new_tokens`, `stop`, `guidance`, `size`, `cache`,
                `batch_size`. Of `Painter.write`: `steps`, `guidance`, `seed`, `size`, `batch_size`. Of
                `Transcriber.write`: `beam`, `batch_size`.

        Raises:
            ValueError: as for `writer` and `Writer.write`.

        Example:
            >>> predictor = load("outputs/translation/latest")  # doctest: +SKIP
            >>> predictor.generate(["Ein Hund im Schnee."])[0][0].content  # doctest: +SKIP
            'A dog in the snow.'
        """
        return self.writer(member).write(prompts, **options)

    @torch.inference_mode()
    def embed(
        self,
        inputs: Any,
        *,
        member: str | None = None,
        pool: Literal["mean", "first"] | Pooling | None = None,
        batch_size: int = 64,
    ) -> Tensor:
        """Unit vectors of raw inputs: dot products are similarities.

        A contrastive task has learned a space for them. Of any other model, the vector is the mean of what the core
        makes of the tokens ([Reimers and Gurevych 2019](https://arxiv.org/abs/1908.10084)).

        Args:
            inputs: as for `predict`; for a contrastive task each of one modality.
            member: which task reads them; by default the contrastive one where there is one, else the one that fits
                each input's modality.
            pool: "mean", "first" (a class token), or a part called with the core's output and its layout, such as the
                pooling of a trained head. None is the space of a contrastive task, and the mean elsewhere.
            batch_size: inputs in one pass; results do not depend on it.

        Shapes:
            float32 `[inputs, d_model]`, on the host; `[inputs, d_embedding]` in the space of a contrastive task.

        Raises:
            ValueError: no task of this model takes an input, or several do; or its core makes no vectors of what is
                given.

        Example:
            >>> load("outputs/bert_pretrain/latest").embed(["a fine film", "a good movie"])  # doctest: +SKIP
        """
        named = named_inputs(inputs)
        contrastive = self._of_kind(ContrastiveHead)
        if pool is None and (member in contrastive or (member is None and contrastive)):
            space = self._only(ContrastiveHead, member, "compares nothing", "a contrastive task")
            return self._in_space(named, space, batch_size)
        routed = [(name, raw, self._reads(raw, name, member)) for name, raw in named]
        rows: dict[int, Tensor] = {}
        for task, chunk in _batches([task for _, _, task in routed], batch_size):
            batch = self._collate([self._given(*routed[i]) for i in chunk])
            vectors = embeddings(self.model, batch, task, pool="mean" if pool is None else pool).cpu()
            rows.update(zip(chunk, vectors, strict=True))
        if not rows:
            return torch.zeros(0, self.model.reader.d_model)  # pyright: ignore[reportCallIssue,reportArgumentType]
        return torch.stack([rows[i] for i in range(len(named))])

    def similarity(self, one: Any, other: Any, **options: Any) -> Tensor:
        """The cosine of each input of one list with each of another.

        Args:
            one: as for `embed`.
            other: the same.
            **options: of `embed`: `member`, `pool`, `batch_size`.

        Shapes:
            float32 `[inputs of one, inputs of the other]`.

        Raises:
            ValueError: as for `embed`.

        Example:
            >>> from pathlib import Path
            >>> model = load("outputs/emoji_clip/latest")  # doctest: +SKIP
            >>> model.similarity(Path("cat.png"), ["a cat", "a train"])  # doctest: +SKIP
        """
        return self.embed(one, **options) @ self.embed(other, **options).T

    def _in_space(self, named: Sequence[tuple[str, Any]], member: str, batch_size: int) -> Tensor:
        """Unit vectors in the space of a contrastive task."""
        head = self.model.heads[member]
        assert isinstance(head, ContrastiveHead)
        samples = [sample_of(name, raw, self.members[member].tokenizers) for name, raw in named]
        rows = torch.zeros(len(samples), head.d_embedding)
        for modality, chunk in _batches([only_modality(sample) for sample in samples], batch_size):
            x, layout = self.model.encode(self._collate([samples[i] for i in chunk]), member)
            rows[chunk] = head.embed(x, layout, modality).cpu()
        return rows

    def _reads(self, raw: Any, name: str, member: str | None) -> str | None:
        """The task that reads an input; None for a model without tasks."""
        if member is not None and member not in self.members:
            raise ValueError(f"no task named {member!r}; this model has {', '.join(self.members) or 'none'}")
        return member or (self.route(raw, name) if self.members else None)

    def _given(self, name: str, raw: Any, task: str | None) -> Sample:
        """An input as a sample of which all is given, nothing answered."""
        given = () if task is None else self.members[task].given
        known = self.tokenizers if task is None else self.members[task].tokenizers
        if not known:
            raise ValueError(
                "this model has no tokenizer: its folder held no tokenizer files; put them there, or tokenize yourself "
                "and call omniformer.embeddings.embeddings"
            )
        sample = sample_of(name, raw, {modality: known[modality] for modality in given or known})
        return replace(sample, prefix=len(sample)) if given else sample

    def route(self, raw: Any, name: str = "input") -> str:
        """The task that a raw input is for, by its modality; one that predicts before one that writes.

        Raises:
            ValueError: no task fits, or several do.
        """
        modality = modality_of(raw)
        wanted = {modality}
        parts = [modality_of(each) for each in raw] if isinstance(raw, list) else raw
        if isinstance(parts, list | Mapping) and parts and set(parts) <= set(self._takes()):
            wanted = set(parts)
            modality = " and ".join(map(str, parts))
        fitting = [task for task, member in self.members.items() if wanted <= set(_takes(member))]
        # By another name: texts that a model knows as the source of what it says.
        fitting = fitting or [task for task, member in self.members.items() if wanted <= _kinds(member)]
        if isinstance(raw, str) and not fitting:
            need_text(name, raw, {key: each.tokenizers[key] for each in self.members.values() for key in _takes(each)})
            fitting = [task for task, member in self.members.items() if _reads_text(member)]
        making = (NextTokenHead, DenoisingHead)
        predicting = [task for task in fitting if not isinstance(self.model.heads[task], making)]
        fitting = predicting or [task for task in fitting if self._finds_hidden(task)] or fitting
        if len(fitting) != 1:
            raise ValueError(
                f"{name} looks like {modality or 'no known modality'}; "
                + (
                    f"several tasks take it: {fitting}; choose one with member="
                    if fitting
                    else f"this model takes {', '.join(self._takes())}"
                )
            )
        return fitting[0]

    @torch.inference_mode()
    def _predict(self, named: Sequence[tuple[str, Any]], task: str, top: int) -> list[list[Prediction]]:
        if task not in self.members:
            raise ValueError(f"no task named {task!r}; this model has {', '.join(self.members)}")
        head = self.model.heads[task]
        assert isinstance(head, Head)
        if self._finds_hidden(task):
            return self._fill(named, task, top)
        need_classes(task, head)
        if isinstance(head, CTCHead):
            return self._transcribe(named, task)
        tokenizers = self.members[task].tokenizers
        samples = [sample_of(name, raw, tokenizers) for name, raw in named]
        outputs = head.predict(self.model(self._collate(samples), task)).cpu()
        labels = self.members[task].labels
        if not head.per_token:
            return [[of_sample(name, task, row, labels)] for (name, _), row in zip(named, outputs, strict=True)]
        rows = outputs.split([len(sample) for sample in samples])
        read = [(name, mine, places_of(raw, tokenizers)) for (name, raw), mine in zip(named, rows, strict=True)]
        if isinstance(head, SpanHead):
            return [[of_answer(name, task, mine, places)] for name, mine, places in read]
        return [of_tokens(name, task, mine, labels, places) for name, mine, places in read]

    def _fill(self, named: Sequence[tuple[str, Any]], task: str, top: int) -> list[list[Prediction]]:
        found = Filler(self.model, task, tokenizers=self.members[task].tokenizers).fill(named, top=top)
        return [
            [replace(of_probabilities(name, task, hole.probabilities), token=hole.token) for hole in holes]
            for (name, _), holes in zip(named, found, strict=True)
        ]

    def _transcribe(self, named: Sequence[tuple[str, Any]], task: str) -> list[list[Prediction]]:
        writer = self.writer(task)
        assert isinstance(writer, Transcriber)
        answers = writer.transcribe([sample_of(name, raw, writer.given) for name, raw in named])
        return [
            [Prediction(input=each.input, member=task, probabilities={}, text=str(each.content))] for each in answers
        ]

    def _makes(self, member: str) -> bool:
        """Whether a task writes or paints."""
        return isinstance(self.model.heads[member], _MAKING) and not self._finds_hidden(member)

    def _finds_hidden(self, member: str) -> bool:
        return finds_hidden(self.model, member)

    def _collate(self, samples: Sequence[Sample]) -> Batch:
        need_room(samples, self.model)
        return collate(samples).to(next(self.model.parameters()).device)

    def _only(self, kind: type[Head] | tuple[type[Head], ...], member: str | None, lacking: str, wanted: str) -> str:
        """The one member with a head of this kind, or the named one of them."""
        able = self._of_kind(kind)
        if not able:
            raise ValueError(f"this model {lacking}, it has only {', '.join(self.members)}; train {wanted}")
        if member is None and len(able) > 1:
            raise ValueError(f"several tasks could answer: {', '.join(able)}; choose one with member=")
        if member is not None and member not in able:
            raise ValueError(
                f"member={member!r} is no task of this kind in this model; choose one of {', '.join(able)}"
            )
        return member or able[0]

    def _of_kind(self, kind: type[Head] | tuple[type[Head], ...]) -> list[str]:
        """The members with a head of this kind, less those that have learned to find hidden tokens."""
        return [
            name for name in self.members if isinstance(self.model.heads[name], kind) and not self._finds_hidden(name)
        ]

    def _takes(self) -> list[str]:
        return sorted({modality for member in self.members.values() for modality in _takes(member)})


def _batches(kinds: Sequence[Kind], batch_size: int) -> Iterator[tuple[Kind, list[int]]]:
    """Indices in batches, each of one kind."""
    for kind in dict.fromkeys(kinds):
        mine = [i for i, each in enumerate(kinds) if each == kind]
        yield from ((kind, mine[start : start + batch_size]) for start in range(0, len(mine), batch_size))


def _takes(member: Member) -> Sequence[str]:
    """The modalities that a task reads: without those that it only writes."""
    return member.given or tuple(member.tokenizers)


def _kinds(member: Member) -> set[str]:
    """What those modalities are to their tokenizers."""
    return {member.tokenizers[name].modality for name in _takes(member)}


def _reads_text(member: Member) -> bool:
    """Whether a string is an input of a task, whatever its modality is called."""
    return any(reads_text(member.tokenizers[name]) for name in _takes(member))
