"""A trained model ready to use: raw inputs in, named predictions, texts, pictures and sounds out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, ClassVar, Literal

import torch
from omniformer_tokenizers import Conversation, Tokenizer
from torch import Tensor

from omniformer.batch import Sample
from omniformer.embeddings import Pooling, embeddings, in_space, of_texts
from omniformer.generation.answer import Answer
from omniformer.generation.filler import writes_nothing
from omniformer.generation.makers import Maker, maker_of
from omniformer.generation.writer import Writer
from omniformer.inputs import Named, Refused, batch_of, by_kind, named_inputs, of_each, sample_of
from omniformer.inputs.fitting import fitted
from omniformer.inputs.member import Member
from omniformer.inputs.routing import only, route
from omniformer.model import OmniFormer
from omniformer.prediction import Prediction, predictions


class Predictor:
    """A trained model with its tokenizers and label names; `omniformer.load` makes it.

    Args:
        model: embedders, core and heads; put into evaluation mode.
        members: by the name of their head in the model; none for a model that only reads.
        tokenizers: by modality, of a model without members, for `embed`. Members have their own.
    """

    published: ClassVar[bool] = False
    """Whether it is a published model, or came from one and can be written back."""

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
        truncate: bool = True,
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
            truncate: whether texts that are longer than the model can read are cut, as training cuts them, and named in
                a warning; else they are refused, as are those with hidden tokens.
            refused: called with the error of each input that cannot be read, so that the others are predicted; None
                raises the first.

        Raises:
            ValueError: no task of this model fits an input, or several do; or a file cannot be read. Names the input.
        """
        named = self.named(inputs, refused)
        options: dict[str, Any] = {"member": member, "batch_size": batch_size, "top": top, "truncate": truncate}
        if refused is None:
            return [each for said in self._predicted(named, **options) for each in said]
        found: list[Prediction] = []
        for _, said in self.outcomes(named, **options):
            if isinstance(said, Exception):
                refused(said)
            else:
                found += said
        return found

    def named(self, inputs: Any, refused: Refused | None = None) -> list[tuple[str, Any]]:
        """Inputs with their names, folders, patterns and arrays as what is in them; arguments as for `predict`."""
        every = [self.tokenizers, *(member.tokenizers for member in self.members.values())]
        return named_inputs(
            inputs, refused, [suffix for each in every for one in each.values() for suffix in one.suffixes]
        )

    def outcomes(
        self,
        named: Iterable[tuple[str, Any]],
        *,
        member: str | None = None,
        batch_size: int = 64,
        top: int = 5,
        truncate: bool = True,
    ) -> Iterator[tuple[str, list[Prediction] | Exception]]:
        """What is said of each input, in order and as it comes, in the memory of one batch: the name of the input, and
        its predictions, or why it cannot be read.

        Args:
            named: inputs with their names, of any number.
            member: as for `predict`, and so are the others.

        Example:
            >>> for name, said in load("outputs/vision/latest").outcomes(endless()):  # doctest: +SKIP
            ...     print(name, said if isinstance(said, Exception) else said[0].label)
        """
        predicted = partial(self._predicted, member=member, batch_size=batch_size, top=top, truncate=truncate)
        waiting = iter(named)
        while chunk := list(islice(waiting, batch_size)):
            yield from zip((name for name, _ in chunk), of_each(predicted, chunk), strict=True)

    @torch.inference_mode()
    def _predicted(
        self, named: Named, *, batch_size: int, member: str | None, **options: Any
    ) -> list[list[Prediction]]:
        """Predictions of each of the inputs with their names."""
        tasks = [self._task(member) or self.route(raw, name) for name, raw in named]
        found: dict[int, list[Prediction]] = {}
        for task, chunk in by_kind(tasks, batch_size):
            said = predictions(self.model, task, self.members[task], [named[i] for i in chunk], **options)
            found.update(zip(chunk, said, strict=True))
        return [found[i] for i in range(len(named))]

    @property
    def usual_writing(self) -> dict[str, Any]:
        """How it is to write unless told otherwise, as options of `generate` and `chat`: nothing is said of it here."""
        return {}

    def writer(self, member: str | None = None) -> Maker:
        """The task that makes texts, pictures or sounds: token by token, pictures out of noise, texts frame by frame.

        Args:
            member: its name, where the model has several.

        Raises:
            ValueError: no task of this model writes, or several do.
        """
        hidden = [name for name in self.members if self.model.makes(name) == "hidden"]
        able = {name: maker for name, each in self.members.items() if (maker := maker_of(self.model, name, each))}
        if member in hidden or (member is None and hidden and not able):
            raise ValueError(writes_nothing(member or hidden[0]))
        name = only(list(able), self.members, member, "writes nothing", "one with modality=text")
        return able[name].of(self.model, name, self.members[name])

    def generate(self, prompts: Any, *, member: str | None = None, **options: Any) -> list[list[Answer]]:
        """What the model writes for each prompt, the best answer first: `writer(member).write(prompts, **options)`.

        Args:
            prompts: texts to go on from, or what is to be answered; see `omniformer.generation.Writer`.
            member: which task writes, where the model has several.
            **options: of `Writer.write`: `strategy`, `max_new_tokens`, `stop`, `guidance`, `size`, `cache`,
                `batch_size`, `schema`, `regex`, `draft` (here also another predictor, which guesses).
                Of `Painter.write`: `steps`, `guidance`, `seed`, `size`, `batch_size`. Of `Transcriber.write`: `beam`,
                `batch_size`.

        Raises:
            ValueError: as for `writer` and `Writer.write`.

        Example:
            >>> predictor = load("outputs/translation/latest")  # doctest: +SKIP
            >>> predictor.generate(["Ein Hund im Schnee."])[0][0].content  # doctest: +SKIP
            'A dog in the snow.'
        """
        return self.writer(member).write(prompts, **_drafted(options))

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        member: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Answer:
        """What a chat model says next in a conversation, which it reads through its chat template.

        Args:
            messages: `[{"role": "user", "content": "..."}]`, with `system` and `assistant` as further roles. Special
                tokens that messages spell stay text: nobody can pretend to be somebody else. To a model that sees,
                content may also be a list of parts in order, `{"type": "image", "path": "cat.png"}` (or `"image"`, as
                `predict` takes pictures) and `{"type": "text", "text": "..."}`.
            member: which task writes, where the model has several.
            tools: what the model may call, as JSON schemas.
            template: further names that its template knows, such as `{"enable_thinking": False}`.
            **options: of `Writer.write`: `strategy`, `max_new_tokens`, `stop`, `cache`, `truncate`, `schema`,
                `regex`, `draft`.

        Raises:
            ValueError: the model has no chat template, or its template refuses the conversation.

        Example:
            >>> model = load("models/qwen3")  # doctest: +SKIP
            >>> model.chat([{"role": "user", "content": "Who are you?"}]).content  # doctest: +SKIP
            'I am Qwen.'
        """
        talk = Conversation(messages=messages, tools=tools, goes_on=True, options=template)
        ((best, *_),) = self.writer(member).write([talk], **_drafted(options))
        return best

    def stream_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        member: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Iterator[str]:
        """What `chat` answers, piece by piece as it is written; arguments as there.

        Raises:
            ValueError: as for `chat`; or the task's answers are known at the end only.
        """
        talk = Conversation(messages=messages, tools=tools, goes_on=True, options=template)
        writer = self.writer(member)
        if not isinstance(writer, Writer):
            raise ValueError(f"{writer.head!r} does not write token by token, and cannot be streamed; use generate")
        return writer.stream(talk, **_drafted(options))

    def embed(
        self,
        inputs: Any,
        *,
        member: str | None = None,
        pool: Literal["mean", "first"] | Pooling | None = None,
        prompt: str | None = None,
        batch_size: int = 64,
        truncate: bool = True,
    ) -> Tensor:
        """Unit vectors of raw inputs: dot products are similarities.

        A contrastive task has learned a space for them. A folder of the library sentence-transformers says itself how
        its vectors are made, of length one or not. Of any other model, the vector is the mean of what the core makes of
        the tokens ([Reimers and Gurevych 2019](https://arxiv.org/abs/1908.10084)).

        Args:
            inputs: as for `predict`; for a contrastive task each of one modality.
            member: which task reads them; by default the contrastive one where there is one, else the one that fits
                each input's modality.
            pool: "mean", "first" (a class token), or a part called with the core's output and its layout, such as the
                pooling of a trained head. None is the space of a contrastive task, what a folder of
                sentence-transformers says, and the mean elsewhere.
            prompt: the name of what is put before each text, where such a folder has prompts; by default the one that
                it names.
            batch_size: inputs in one pass; results do not depend on it.
            truncate: as for `predict`.

        Shapes:
            float32 `[inputs, d_model]`, on the host; `[inputs, d_embedding]` in the space of a contrastive task.

        Raises:
            ValueError: no task of this model takes an input, or several do; its core makes no vectors of what is given;
                or it has no such prompt.

        Example:
            >>> load("outputs/bert_pretrain/latest").embed(["a fine film", "a good movie"])  # doctest: +SKIP
        """
        options: dict[str, Any] = {"member": member, "pool": pool, "prompt": prompt}
        return self.embed_named(self.named(inputs), batch_size=batch_size, truncate=truncate, **options)

    @torch.inference_mode()
    def embed_named(
        self,
        named: Named,
        *,
        member: str | None = None,
        pool: Literal["mean", "first"] | Pooling | None = None,
        prompt: str | None = None,
        batch_size: int = 64,
        truncate: bool = True,
    ) -> Tensor:
        """`embed`, of inputs with their names, which stand in messages; arguments as there."""
        able = [name for name in self.members if self.model.head(name).compares]
        if pool is None and (member in able or (member is None and able)):
            space = only(able, self.members, member, "compares nothing", "a contrastive task")
            known = self.members[space].tokenizers
            samples = [sample_of(name, raw, known) for name, raw in named]
            samples = fitted(samples, self.model, known) if truncate else samples
            return in_space(self.model, samples, space, batch_size=batch_size)
        if pool is None and (task := self._embedder(member)) is not None:
            options = {"prompt": prompt, "batch_size": batch_size, "truncate": truncate}
            return of_texts(self.model, named, task, self.members[task], **options)
        if prompt is not None:
            raise ValueError(f"prompt={prompt!r}: this model has no prompts; put the words before the texts yourself")
        tasks = [self._reads(raw, name, member) for name, raw in named]
        rows: dict[int, Tensor] = {}
        for task, chunk in by_kind(tasks, batch_size):
            batch = batch_of(self.samples([named[i] for i in chunk], task, truncate=truncate), self.model)
            vectors = embeddings(self.model, batch, task, pool="mean" if pool is None else pool).cpu()
            rows.update(zip(chunk, vectors, strict=True))
        if not rows:
            return torch.zeros(0, self.model.reader.d_model)  # pyright: ignore[reportCallIssue,reportArgumentType]
        return torch.stack([rows[i] for i in range(len(named))])

    def similarity(self, one: Any, other: Any, **options: Any) -> Tensor:
        """The cosine of each input of one list with each of another; in a folder of the library sentence-transformers
        what it says instead.

        Args:
            one: as for `embed`.
            other: the same.
            **options: of `embed`: `member`, `pool`, `prompt`, `batch_size`, `truncate`.

        Shapes:
            float32 `[inputs of one, inputs of the other]`.

        Raises:
            ValueError: as for `embed`.

        Example:
            >>> from pathlib import Path
            >>> model = load("outputs/emoji_clip/latest")  # doctest: +SKIP
            >>> model.similarity(Path("cat.png"), ["a cat", "a train"])  # doctest: +SKIP
        """
        vectors = self.embed(one, **options), self.embed(other, **options)
        task = self._embedder(options.get("member")) if options.get("pool") is None else None
        if task is not None:
            head: Any = self.model.head(task)
            return head.compare(*vectors)
        return vectors[0] @ vectors[1].T

    def route(self, raw: Any, name: str = "input") -> str:
        """The task that a raw input is for, by its modality; one that predicts before one that writes.

        Raises:
            ValueError: no task fits, or several do.
        """
        return route(self.model, self.members, raw, name)

    def _embedder(self, member: str | None) -> str | None:
        """The task that makes vectors of texts: the named one, or the only one; None where that is no such task."""
        able = [name for name in self.members if self.model.head(name).embeds]
        if member is not None:
            return member if member in able else None
        return only(able, self.members, None, "makes no vectors", "one that does") if able else None

    def _reads(self, raw: Any, name: str, member: str | None) -> str | None:
        """The task that reads an input; None for a model without tasks."""
        return self._task(member) or (self.route(raw, name) if self.members else None)

    def _task(self, member: str | None) -> str | None:
        """The name of the task that is meant, where one is."""
        if member is not None and member not in self.members:
            raise ValueError(f"no task named {member!r}; this model has {', '.join(self.members) or 'none'}")
        return member

    def samples(self, named: Named, task: str | None, *, truncate: bool = True) -> list[Sample]:
        """Inputs as samples of which all is given, nothing answered.

        Args:
            named: inputs with their names.
            task: which reads them; None for a model without tasks.
            truncate: as for `predict`.

        Raises:
            ValueError: an input cannot be read, or the model has no tokenizer.
        """
        given = () if task is None else self.members[task].given
        known = self.tokenizers if task is None else self.members[task].tokenizers
        if not known:
            raise ValueError(
                "this model has no tokenizer: its folder held no tokenizer files; put them there, or tokenize yourself "
                "and call omniformer.embeddings.embeddings"
            )
        samples = [
            sample_of(name, raw, {modality: known[modality] for modality in given or known}) for name, raw in named
        ]
        samples = fitted(samples, self.model, known) if truncate else samples
        return [replace(sample, prefix=len(sample)) if given else sample for sample in samples]


def _drafted(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of writing, where a predictor that guesses is the draft that its task makes."""
    draft = options.get("draft")
    if not isinstance(draft, Predictor):
        return dict(options)
    writer = draft.writer()
    if not isinstance(writer, Writer):
        raise ValueError(f"the draft's {writer.head!r} does not write token by token; give a model that does")
    return {**options, "draft": writer.draft()}
