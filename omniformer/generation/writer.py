"""A task that writes, with its tokenizers: prompts in, texts, pictures and sounds out."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from omniformer_tokenizers import Tokenizer, Tokens

from omniformer.batch import Batch, Sample, asked, collate
from omniformer.core.ranges import Count
from omniformer.generation.adjusting import Adjustment
from omniformer.generation.allowed import Allowed
from omniformer.generation.answer import Answer, Segment, blank_picture, given_sample, head_making, keyed, with_pictures
from omniformer.generation.constrained import form_of, tell_cut, watched
from omniformer.generation.draft import Draft
from omniformer.generation.room import room_for
from omniformer.generation.sampling import Greedy, Sampling
from omniformer.generation.session import Caching
from omniformer.generation.strategy import Chosen, Strategy, Written
from omniformer.generation.texts import Spelling, Streamed, until
from omniformer.generation.write import DEFAULT_LENGTH, stream, write
from omniformer.inputs import by_kind, listed, tokens_of
from omniformer.inputs.fitting import fitted, refuse_long
from omniformer.inputs.member import Member
from omniformer.model import OmniFormer

log = logging.getLogger(__name__)


class Writer:
    """One task of a model that writes what its tokenizer can read back: text, pixels, samples of sound.

    A task that is given something answers it: it translates a sentence, describes a picture, writes down speech, paints
    what is asked for. One that is given nothing goes on from a text, or begins a new text, picture or sound.

    Args:
        model: in evaluation mode.
        head: the name of a head that makes ids, such as `NextTokenHead`; it says what is written.
        tokenizers: by modality.
        given: the modalities that the task reads before it writes.
        max_seq_len: the longest text that a language model reads; None for no limit.
        allowed: which ids a text may hold, and where; all, everywhere by default.

    Raises:
        ValueError: the head writes no ids, or has no tokenizer.

    Example:
        >>> from omniformer_tokenizers import ByteTokenizer
        >>> from omniformer.core import Transformer
        >>> from omniformer.core.rules import Causal
        >>> from omniformer.embedders import IdEmbedder
        >>> from omniformer.heads import NextTokenHead
        >>> model = OmniFormer(
        ...     core=Transformer(d_model=16, n_layers=1, n_heads=2),
        ...     embedders={"text": IdEmbedder(d_model=16, vocab_size=257)},
        ...     heads={"lm": NextTokenHead(d_model=16, vocab_size=257)},
        ...     rules={"lm": Causal()},
        ... )
        >>> writer = Writer(model, "lm", tokenizers={"text": ByteTokenizer()})
        >>> answers = writer.write(["once upon", ""], max_new_tokens=5)
        >>> [len(answers[0]), type(answers[0][0].content)]
        [1, <class 'str'>]
    """

    def __init__(
        self,
        model: OmniFormer,
        head: str,
        *,
        tokenizers: Mapping[str, Tokenizer],
        given: Sequence[str] = (),
        max_seq_len: int | None = None,
        allowed: Allowed | None = None,
    ) -> None:
        self.model, self.head, self.modality = model, head, head_making("ids", model, head).modality
        if missing := [name for name in (self.modality, *given) if name not in tokenizers]:
            raise ValueError(f"{head!r} has no tokenizer for {missing[0]!r}, only for {', '.join(tokenizers)}")
        self.tokenizer = tokenizers[self.modality]
        if self.tokenizer.start is None:
            raise ValueError(f"{head!r} writes with a {type(self.tokenizer).__name__}, whose tokens are no ids")
        self.given = {name: tokenizers[name] for name in given}
        # What stands in a text: pictures in a conversation.
        self.held = {name: tokenizers[name] for name in self.tokenizer.placeholders if name in tokenizers}
        self.max_seq_len = None if given else max_seq_len
        self.allowed = allowed

    @classmethod
    def of(cls, model: OmniFormer, task: str, member: Member) -> "Writer":
        """The writer of a task of a trained model."""
        return cls(
            model,
            task,
            tokenizers=member.tokenizers,
            given=member.given,
            max_seq_len=member.max_seq_len,
            allowed=member.allowed,
        )

    @property
    def writes_text(self) -> bool:
        """Whether it writes text, not pictures or sounds."""
        return self.tokenizer.modality == "text"

    @property
    def usual(self) -> Sampling:
        """How it writes unless told otherwise: a language model draws at temperature 0.8, a text that answers takes the
        most probable ids, pictures and sounds are drawn at temperature 1.
        """
        if not self.writes_text:
            return Sampling(temperature=1.0)
        return Greedy() if self.given else Sampling()

    def write(
        self,
        prompts: Sequence[Any],
        *,
        strategy: Strategy | None = None,
        max_new_tokens: int | None = None,
        stop: Sequence[str] = (),
        begin: Sequence[int | str] = (),
        guidance: float = 1.0,
        size: tuple[int, int] | None = None,
        cache: Caching = "growing",
        batch_size: int = 16,
        truncate: bool = True,
        adjust: Sequence[Adjustment] = (),
        min_new_tokens: int = 0,
        schema: Mapping[str, Any] | bool | None = None,
        regex: str | None = None,
        draft: Draft | None = None,
    ) -> list[list[Answer]]:
        """What is written for each prompt, the best answer first.

        Args:
            prompts: texts to go on from, empty ones to begin anew. Or what the task is given: files as `pathlib.Path`,
                raw samples as the tokenizers take them, several of these as a list, `[Path("cat.png"), "what?"]`,
                or by modality, `{"vision": Path("cat.png")}`. What is left out counts as missing. One by itself is a
                list of one. For a language model with a chat template also a `Conversation`.
            strategy: `Greedy()`, `Sampling(...)` or `BeamSearch(...)`; by default `usual`.
            max_new_tokens: when to end at the latest, by default after 256 ids of a text. A sound has so many samples;
                a picture is written whole.
            stop: texts that end an answer, just before the first of them.
            begin: special tokens with which an answer begins, by name or id, in the place of those that the model's
                files say: Whisper's language and task. Of published vocabularies only.
            guidance: how much more what is given shall count than it does by itself; 1 is as trained. See `Session`.
            size: height and width of a picture, where its tokenizer does not say.
            cache: "growing", "static", "sliding" or "none"; see `Session`.
            batch_size: prompts in one pass; answers do not depend on it.
            truncate: whether texts that are longer than the model can read are cut, and named in a warning: what is
                given at its end, as in training, what is gone on from at its beginning. Else they are refused.
            adjust: what changes the scores of the next id, one after the other: `NoRepeat(3)`,
                `Penalties(presence=0.5)`, `Bias({42: -5.0})`, or an `Adjustment` of your own.
            min_new_tokens: how many ids an answer has at least before the model may end it.
            schema: a JSON schema that each answer is to fulfil; see `Constrained`, as for `regex`. Answers that reach
                the most ids before they are whole are counted in a warning.
            regex: a regular expression that each whole answer is to match.
            draft: a cheaper model that guesses ids, so that this one reads several in one pass: `other.draft()` of its
                writer; for `Greedy` and `Sampling`. Fastest with `batch_size=1`.

        Raises:
            ValueError: a prompt is empty or cannot be read, or an option does not fit what is written. Names the
                prompt.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        self._check(draft)
        form = form_of(self.tokenizer, schema=schema, regex=regex, stop=stop, min_new_tokens=min_new_tokens)
        blank = self._blank(size)
        options = self._options(blank, max_new_tokens, stop)
        samples = self._samples(listed(prompts), blank, begin, truncate=truncate)
        kinds = [self._kind(sample, max_new_tokens) for sample in samples]
        names, samples = [sample.id for sample in samples], keyed(samples)
        answers: dict[int, list[Answer]] = {}
        for _, rows in by_kind(kinds, batch_size):
            spellings = [self._spelling(samples[i], stop) for i in rows]
            found = self._written(
                [samples[i] for i in rows],
                strategy=self.usual if strategy is None else strategy,
                until=until(spellings) if stop else None,
                guidance=guidance,
                cache=cache,
                adjust=(*adjust, *form),
                min_new_tokens=min_new_tokens,
                draft=draft,
                **options,
            )
            for i, spelling, written in zip(rows, spellings, found, strict=True):
                answers[i] = [self._answer(names[i], each, spelling, blank) for each in written]
        if form:
            tell_cut([each.ended for some in answers.values() for each in some])
        return [answers[i] for i in range(len(samples))]

    def stream(
        self,
        prompt: Any,
        *,
        strategy: Sampling | None = None,
        max_new_tokens: int | None = None,
        stop: Sequence[str] = (),
        begin: Sequence[int | str] = (),
        guidance: float = 1.0,
        cache: Caching = "growing",
        truncate: bool = True,
        adjust: Sequence[Adjustment] = (),
        min_new_tokens: int = 0,
        schema: Mapping[str, Any] | bool | None = None,
        regex: str | None = None,
        draft: Draft | None = None,
    ) -> Streamed:
        """The text that is written for one prompt, piece by piece as it is written; pieces are whole characters.

        Arguments as for `write`. What results also says, once all pieces came, how many ids there were and whether the
        model ended the text.

        Raises:
            ValueError: as for `write`; or what is written is no text, or the strategy knows its answer at the end only.
        """
        if not self.writes_text:
            raise ValueError(f"{self.head!r} writes {self.modality}, no text, and cannot be streamed; use write")
        self._check(draft)
        form = form_of(self.tokenizer, schema=schema, regex=regex, stop=stop, min_new_tokens=min_new_tokens)
        samples = self._samples([prompt], None, begin, truncate=truncate)
        self._kind(samples[0], max_new_tokens)  # says the name of a prompt that leaves none
        (sample,) = keyed(samples)
        spelling = self._spelling(sample, stop)
        chosen = self._chosen(
            sample,
            strategy=self.usual if strategy is None else strategy,
            until=until([spelling]) if stop else None,
            guidance=guidance,
            cache=cache,
            adjust=(*adjust, *form),
            min_new_tokens=min_new_tokens,
            draft=draft,
            **self._options(None, max_new_tokens, stop),
        )
        return Streamed(watched(chosen) if form else chosen, spelling, read=sample.n_tokens)

    def read(self, prompts: Sequence[Any]) -> list[Sample]:
        """Prompts as `write` reads them, cut to what the model can read; their ids are what draws at random are keyed
        by, so that prompts of which the model reads the same have the same, one by one.

        Raises:
            ValueError: as for `write`.
        """
        return keyed(self._samples(listed(prompts), None, (), truncate=True))

    def draft(self, n: Count = 4) -> Draft:
        """This task as a guesser for a larger model with the same tokenizers; see `Draft`.

        Args:
            n: guesses that are read in one pass at most.

        Example:
            >>> large, small = load("models/large"), load("models/small")  # doctest: +SKIP
            >>> draft = small.writer().draft()  # doctest: +SKIP
            >>> answers = large.generate(["Once upon a time"], draft=draft)  # doctest: +SKIP
            >>> print(draft)  # doctest: +SKIP
        """
        return Draft(self.model, self.head, n=n, max_seq_len=self.max_seq_len, digests=self._digests())

    def _digests(self) -> dict[str, str]:
        return {name: each.digest for name, each in self._tokenizers().items()}

    def _tokenizers(self) -> dict[str, Tokenizer]:
        return {self.modality: self.tokenizer, **self.held, **self.given}

    def _check(self, draft: Draft | None) -> None:
        """Refuses a draft that would read other tokens."""
        if draft is None or (draft.model is self.model and draft.head == self.head):
            return
        own = self._digests()
        if other := sorted(
            name for name in own.keys() | draft.digests.keys() if own.get(name) != draft.digests.get(name)
        ):
            raise ValueError(
                f"the draft's tokenizer of {other[0]!r} is not that of {self.head!r}; a draft needs the same vocabulary"
            )

    def _options(self, blank: Tokens | None, max_new_tokens: int | None, stop: Sequence[str]) -> dict[str, Any]:
        """What of `write` depends on the kind of what is written."""
        options: dict[str, Any] = {"max_new_tokens": max_new_tokens}
        if self.writes_text:
            return options | {"stop": self.tokenizer.stops, "max_seq_len": self.max_seq_len, "allowed": self.allowed}
        if stop:
            raise ValueError(f"{self.head!r} writes {self.modality}, no text: leave out stop")
        if blank is not None and max_new_tokens is not None:
            raise ValueError(f"{self.head!r} writes whole pictures; leave out max_new_tokens, give a size")
        if blank is None and max_new_tokens is None:
            raise ValueError(
                f"{self.head!r} writes {self.modality} without an end; say how many samples with max_new_tokens"
            )
        positions = None if blank is None else self.tokenizer.begun(blank).positions
        return options | {"allowed": Allowed(never=self.tokenizer.beginning), "positions": positions}

    def _blank(self, size: tuple[int, int] | None) -> Tokens | None:
        """A picture of the size that will be written, as tokens; None for what is no picture."""
        if hasattr(self.tokenizer, "image_size"):
            return blank_picture(self.tokenizer, size, self.head)
        if size is not None:
            raise ValueError(f"{self.head!r} writes {self.modality}, which has no height and width; leave out size")
        return None

    def _samples(
        self, prompts: Sequence[Any], blank: Tokens | None, begin: Sequence[int | str], *, truncate: bool
    ) -> list[Sample]:
        """Prompts as samples that the model can read, whose answers have begun."""
        samples = [self._begun(f"prompt {i}", prompt, blank, begin) for i, prompt in enumerate(prompts)]
        if truncate:
            samples = fitted(samples, self.model, self._tokenizers())
        refuse_long(samples, self.model)
        most = self.max_seq_len
        long = [f"{each.id} ({n} tokens)" for each in samples if most and (n := len(each.answer[0])) > most]
        if long and not truncate:
            raise ValueError(f"{long[0]} is more than the {most} tokens that {self.head!r} reads; give less of it")
        if long:
            more = f", and {len(long) - 5} more" if len(long) > 5 else ""
            log.warning("only the last %s tokens are read of %s%s", most, ", ".join(long[:5]), more)
        return samples

    def _written(self, samples: Sequence[Sample], **options: Any) -> list[list[Written]]:
        """The answers to samples of one kind; options as for `omniformer.generation.write`."""
        return write(self.model, self.head, self._collate(samples), **options)

    def _chosen(self, sample: Sample, **options: Any) -> Iterator[Chosen]:
        """The answer to a sample, id by id."""
        return stream(self.model, self.head, self._collate([sample]), **options)

    def _kind(self, sample: Sample, asked: int | None) -> Any:
        """What samples of one batch have in common: how long the answer may become, where positions end before what is
        asked for, so that it depends on no other sample.
        """
        room = None if self.max_seq_len else room_for(sample, self.model, self.modality)
        return None if room is None or room >= (DEFAULT_LENGTH if asked is None else asked) else room

    def _begun(self, name: str, prompt: Any, blank: Tokens | None, begin: Sequence[int | str]) -> Sample:
        """A prompt as what is given and what is already written."""
        axes = 1 if blank is None else blank.positions.shape[1]
        begun = Tokens(values=torch.zeros(0, dtype=torch.long), positions=torch.zeros(0, axes), modality=self.modality)
        if self.given or not self.writes_text:
            sample = given_sample(name, prompt, self.given, self.head)
        else:
            sample = Sample(id=name, pieces=[])
            if prompt is not None and not (isinstance(prompt, str) and not prompt):
                begun = tokens_of(name, self.modality, prompt, self.tokenizer)
        tokenizer: Any = self.tokenizer
        if begin:
            if not hasattr(tokenizer, "beginning_with"):
                raise ValueError(
                    f"{self.head!r} writes with a {type(tokenizer).__name__}, which has one beginning; leave out begin"
                )
            if len(begun):
                raise ValueError(f"{name} is what the answer goes on from; leave out begin={list(begin)}")
            tokenizer = tokenizer.beginning_with(*begin)
        pieces = with_pictures(name, prompt, tokenizer.begun(begun), self.held, tokenizer)
        prefix = asked(pieces)
        *before, last = (each if each.modality != self.modality else replace(each, features={}) for each in pieces)
        return replace(sample, pieces=[*sample.pieces, *before], answer=[last], prefix=prefix)

    def _collate(self, samples: Sequence[Sample]) -> Batch:
        return collate(samples).to(next(self.model.parameters()).device)

    def _spelling(self, sample: Sample, stop: Sequence[str]) -> Spelling:
        return Spelling(self.tokenizer, stop=stop, before=sample.answer[0].values.tolist())

    def _answer(self, name: str, written: Written, spelling: Spelling, blank: Tokens | None) -> Answer:
        ids = torch.tensor(written.ids, dtype=torch.long)
        tokens: tuple[str, ...] = ()
        rate = None
        if self.writes_text:
            content: Any = spelling.text(written.ids)
            tokens = tuple(self.tokenizer.decode([each]) for each in written.ids)  # pyright: ignore[reportArgumentType]
        elif blank is not None:
            content = self.tokenizer.decode(replace(blank, values=ids))
        else:
            places = torch.arange(len(ids), dtype=torch.float32)[:, None]
            content = self.tokenizer.decode(Tokens(values=ids, positions=places, modality=self.modality))
            rate = getattr(self.tokenizer, "sample_rate", None)
        return Answer(
            input=name,
            member=self.head,
            content=content,
            ids=written.ids,
            tokens=tokens,
            log_probs=written.log_probs,
            score=written.score,
            ended=written.ended,
            sample_rate=rate,
            segments=tuple(self._segment(*each) for each in written.spans),
        )

    def _segment(self, start: float, end: float, ids: Sequence[int]) -> Segment:
        return Segment(start=start, end=end, text=self.tokenizer.decode(list(ids)))  # pyright: ignore
