"""A model that has read its prompts and writes on, token by token, over a cache or without one."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from omniformer_tokenizers import Tokens
from torch import Tensor

from omniformer.batch import Batch, Sample, collate
from omniformer.core.cache import KVCache, SlidingCache, StaticCache
from omniformer.core.layout import Layout
from omniformer.core.mixed_cache import MixedCache
from omniformer.generation.adjusting import Adjustment
from omniformer.generation.allowed import Allowed
from omniformer.generation.answer import head_making
from omniformer.generation.begun import last_of, samples_of, written_of
from omniformer.generation.pace import OneByOne
from omniformer.generation.room import before, room_for
from omniformer.model import OmniFormer

Caching = Literal["growing", "static", "sliding", "none"]


class Session:
    """A batch of samples being written: the scores of the next id of each, and how to go on.

    Rows are answers side by side, at first one for each sample; `reorder` makes them more or fewer.

    Args:
        model: in evaluation mode.
        head: the name of a head that makes ids, such as `NextTokenHead`.
        batch: what each sample is given, and in `batch.answer` what is already written: at least the start id, and
            behind it a prompt to go on from. Samples of a plain language model are given nothing.
        cache: "growing" needs the least memory while answers are short; "static" is allocated once, for
            `max_new_tokens`; "sliding" holds only what each layer can see, for rules or layers with a window; "none"
            reads everything anew at every step, for cores that know no cache.
        max_new_tokens: most ids that will be written, for which "static" makes room.
        positions: coordinates of all tokens of an answer, the start id first, where they lie on several axes (pixels).
            On one axis they count on by themselves.
        guidance: how much more what is given shall count (classifier-free guidance,
            [Ho and Salimans 2022](https://arxiv.org/abs/2207.12598), for language models
            [Sanchez et al. 2023](https://arxiv.org/abs/2306.17806)): scores are `u + guidance (c - u)`, where the
            model writes c knowing what is given and u without; where nothing is given, u knows only the last id of the
            prompt. 1, the default, is no guidance and costs half as much.
        max_seq_len: most tokens of an answer that the model reads, usually what it was trained on. Once an answer is
            longer, the later half is read anew and the rest forgotten. No limit by default.
        allowed: which ids may be written, and where; all, everywhere by default.
        adjust: what changes the scores of the next id, one after the other.

    Attributes:
        last: what the core gives for the last token of each row, of which `logits` are made.
        among_allowed: whether `log_probs` are those among the ids that may be written, not among all.

    Shapes:
        positions `[answer tokens, axes]`, last `[rows, d_model]`.

    Raises:
        ValueError: the head predicts no ids, or its scores are no numbers; nothing is written yet of some sample;
            positions are missing, or too few; the rule has no window for a sliding cache; a number is out of its range.

    Example:
        >>> from omniformer.core import Transformer
        >>> from omniformer.core.rules import Causal
        >>> from omniformer.embedders import IdEmbedder
        >>> from omniformer.heads import NextTokenHead
        >>> model = OmniFormer(
        ...     core=Transformer(d_model=16, n_layers=1, n_heads=2),
        ...     embedders={"text": IdEmbedder(d_model=16, vocab_size=20)},
        ...     heads={"lm": NextTokenHead(d_model=16, vocab_size=20)},
        ...     rules={"lm": Causal()},
        ... )
        >>> start = Tokens(values=torch.tensor([0]), positions=torch.zeros(1, 1), modality="text")
        >>> session = Session(model, "lm", collate([Sample(id="a", pieces=[], answer=[start])]))
        >>> session.advance([int(session.logits.argmax())])
        >>> session.logits.shape, len(session.written[0])
        (torch.Size([1, 20]), 2)
    """

    def __init__(
        self,
        model: OmniFormer,
        head: str,
        batch: Batch,
        *,
        cache: Caching = "growing",
        max_new_tokens: int = 256,
        positions: Tensor | None = None,
        guidance: float = 1.0,
        max_seq_len: int | None = None,
        allowed: Allowed | None = None,
        adjust: Sequence[Adjustment] = (),
    ) -> None:
        self.model, self.head = model, head
        self._reader = head_making("ids", model, head)
        self._device = next(model.parameters()).device
        self._reads_memory = model.writer.reads_memory
        self._caching = cache
        self._limit, self._guidance = max_seq_len, guidance
        self._allowed, self._adjust, self._place = allowed, tuple(adjust), 0
        # Guesses, the scores behind each, and what the core gives for it.
        self.ahead: deque[tuple[list[int], Tensor, Tensor]] = deque()
        self.pace: Callable[..., OneByOne] = OneByOne
        self.among_allowed = False
        _check(cache, guidance, max_seq_len, positions)
        modality = self._reader.modality
        self._first = samples = samples_of(batch)
        self._options: dict[str, Any] = {
            "cache": cache, "max_new_tokens": max_new_tokens, "positions": positions, "guidance": guidance,
            "max_seq_len": max_seq_len, "allowed": allowed, "adjust": adjust,
        }  # fmt: skip
        self.written = [written_of(sample, modality) for sample in samples]
        self.ids = batch.ids
        self._begun = [len(ids) for ids in self.written]
        self._given = [replace(sample, answer=()) for sample in samples]
        self._before = [before(given, model, modality) for given in self._given]
        self._axes = max([1, *(piece.positions.shape[1] for sample in samples for piece in sample.answer)])
        self._positions = None if positions is None else positions.to(self._device).float()
        if self._positions is None and self._axes > 1:
            raise ValueError(f"answers of {modality!r} lie on {self._axes} axes; give positions of all their tokens")
        self._plain: Session | None = None
        if guidance != 1:
            self._plain = Session(
                model, head, _given_nothing(samples), cache=cache, max_new_tokens=max_new_tokens, positions=positions,
                max_seq_len=max_seq_len,
            )  # fmt: skip
        # What each row's context still holds of its answer: all of it until max_seq_len is reached.
        self._context = [ids[-max_seq_len:] if max_seq_len else list(ids) for ids in self.written]
        room = self.room if positions is None else None
        self._room = max_new_tokens if room is None else min(max_new_tokens, room)
        self._read()

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.written)

    @property
    def logits(self) -> Tensor:
        """Scores of the next id of each row, adjusted; minus infinity for what may not be written.

        Shapes:
            float32 `[rows, vocab_size]`.
        """
        return self._restricted(self._adjusted())

    @property
    def vocab_size(self) -> int:
        """The number of ids that are scored."""
        return self._scores.shape[1]

    @property
    def log_probs(self) -> Tensor:
        """The model's log-probabilities of the next id of each row; minus infinity for what may not be written, 0 for
        what must be.

        Shapes:
            float32 `[rows, vocab_size]`.
        """
        if self.among_allowed:
            return self.logits.log_softmax(-1)
        own = self._scores.log_softmax(-1)
        if self._adjust:
            own = own.masked_fill(self._adjusted() == -torch.inf, -torch.inf)
        return self._restricted(own)

    @property
    def room(self) -> int | None:
        """How many more ids every row has room for: in the positions given, or in those that the model has; None where
        answers may have any length.

        Raises:
            ValueError: the rows differ in it, where positions are given; or no place is left in one of them.
        """
        if self._positions is None:
            if self._limit is not None:
                return None
            modality = self._reader.modality
            begun = [
                replace(each, answer=[self._tokens(ids)]) for each, ids in zip(self._given, self.written, strict=True)
            ]
            rooms = [room_for(each, self.model, modality) for each in begun]
            return min((each for each in rooms if each is not None), default=None)
        lengths = {len(ids) for ids in self.written}
        if len(lengths) > 1:
            raise ValueError(f"answers with positions must have begun equally long; received lengths {sorted(lengths)}")
        return len(self._positions) - max(lengths, default=0)

    @property
    def left(self) -> int:
        """How many ids may still be written and read before the answers end, or their context is full."""
        left = self._room - self._place
        if self._limit is None:
            return left
        return min(left, self._limit - max(map(len, self._context), default=0))

    def again(self, samples: Sequence[int]) -> "Session":
        """A session of some of its first samples, by their numbers, of which nothing is written yet."""
        return Session(self.model, self.head, collate([self._first[each] for each in samples]), **self._options)

    def advance(self, ids: Sequence[int], guesses: Sequence[Sequence[int]] = ()) -> None:
        """Writes one more id in each row and scores the next ones.

        Args:
            ids: of each row.
            guesses: what may come then in each row, step by step, fewer than are `left`; read in the same pass. Where
                all rows then write what was guessed, their scores are there; else the rest is forgotten.
        """
        self._place += 1
        for row, (chosen, context) in enumerate(zip(ids, self._context, strict=True)):
            self.written[row].append(chosen)
            context.append(chosen)
            if self._limit is not None and len(context) > self._limit:
                self._context[row] = context[-(self._limit // 2) :]
                self._cache = None
        if self._plain is not None:
            self._plain.advance(ids)
        if self._cache is None:
            self._read()
        elif self.ahead and list(ids) == self.ahead[0][0]:
            _, raw, self.last = self.ahead.popleft()
            self._scores = self._guided(raw)
        else:
            if self.ahead:
                self._cut(len(self.ahead))
            self._step(list(ids), [list(each) for each in guesses])

    def forget(self, n: int) -> None:
        """Takes back the last ids of each row. Scores are right again after the next `advance`."""
        self._cut(n)
        self._place -= n
        for row in (*self.written, *self._context):
            del row[len(row) - n :]

    def _cut(self, n: int) -> None:
        """Takes the last tokens of each row out of the cache."""
        self.ahead.clear()
        assert isinstance(self._cache, KVCache)
        self._cache.truncate(self._cache.lengths - n)

    def _step(self, ids: list[int], guesses: list[list[int]]) -> None:
        """Reads the newest id of each row, and guesses behind it."""
        assert self._cache is not None
        n = 1 + len(guesses)
        new = torch.tensor([each for row in zip(ids, *guesses, strict=True) for each in row], device=self._device)
        last = [len(context) - 1 + i for context in self._context for i in range(n)]
        with torch.inference_mode():
            x, layout = self.model.read_on(new, self._coordinates(last), self._cache, self.head)
            raw = self._reader(x, layout)
            if guesses:
                raw, *raws = raw.unflatten(0, (-1, n)).unbind(1)
                x, *xs = x.unflatten(0, (-1, n)).unbind(1)
                self.ahead.extend(zip(guesses, raws, xs, strict=True))
        self._scores, self.last = self._guided(raw), x

    def reorder(self, rows: Sequence[int]) -> None:
        """Makes row i the former row `rows[i]`; rows may repeat or be left out."""
        if list(rows) == list(range(len(self))):
            return
        for name in ("written", "_context"):
            setattr(self, name, [list(getattr(self, name)[row]) for row in rows])
        self._begun = [self._begun[row] for row in rows]
        self._given = [self._given[row] for row in rows]
        self._before = [self._before[row] for row in rows]
        index = torch.tensor(list(rows), dtype=torch.long)
        there = index.to(self._device)
        self._scores, self.last = self._scores[there], self.last[there]
        self.ahead = deque(([ids[row] for row in rows], raw[there], x[there]) for ids, raw, x in self.ahead)
        if self._cache is not None:
            with torch.inference_mode():
                self._cache.reorder(index)
        if self._plain is not None:
            self._plain.reorder(rows)

    def _read(self) -> None:
        """Reads everything that the rows hold, into a new cache."""
        samples = [
            replace(given, answer=[self._tokens(context)])
            for given, context in zip(self._given, self._context, strict=True)
        ]
        batch = collate(samples).to(self._device)
        self._cache = self._new_cache(samples)
        with torch.inference_mode():
            x, layout = self.model.decode(batch, self.head, cache=self._cache)
            last = layout.offsets[1:] - 1
            self.last = x[last]
            raw = self._reader(self.last, Layout.from_lengths(*[1] * len(last), device=self._device))
        self._scores = self._guided(raw)

    def _guided(self, raw: Tensor) -> Tensor:
        """The scores that ids are chosen by."""
        raw = raw.float()
        if math.isnan(raw.sum()) and raw.isnan().any():  # a sum costs less, but infinities may make it no number, too
            raise ValueError(f"head {self.head!r} gave scores that are no numbers; the model's weights are damaged")
        if self._plain is not None:
            raw = self._plain.logits + self._guidance * (raw - self._plain.logits)
        return raw

    def _adjusted(self) -> Tensor:
        """The scores as they are to be, before what may not be written is left out."""
        scores = self._scores
        if self._adjust:
            parts = [(ids[:n], ids[n:]) for ids, n in zip(self.written, self._begun, strict=True)]
            begun, written = [each for each, _ in parts], [each for _, each in parts]
            for adjust in self._adjust:
                scores = adjust(scores, before=begun, written=written)
        return scores

    def _restricted(self, scores: Tensor) -> Tensor:
        """Scores of what may be written next."""
        if self._allowed is None:
            return scores
        return self._allowed(scores, place=self._place, room=self._room)

    def _tokens(self, context: list[int]) -> Tokens:
        """Ids of an answer as tokens."""
        if self._positions is None:
            positions = torch.arange(len(context), dtype=torch.float32, device=self._device)[:, None]
        else:
            positions = self._placed(torch.arange(len(context), device=self._device))
        values = torch.tensor(context, device=self._device)
        return Tokens(values=values, positions=positions, modality=self._reader.modality)

    def _coordinates(self, last: list[int]) -> Tensor:
        """Where tokens lie, equally many of each row."""
        n = len(last) // max(len(self._before), 1)
        shift = [before for before in self._before for _ in range(n)]
        if self._positions is None:
            places = [[place + before] for place, before in zip(last, shift, strict=True)]
            return torch.tensor(places, dtype=torch.float32, device=self._device).view(-1, 1)
        placed = self._placed(torch.tensor(last, device=self._device))
        return placed if self._axes > 1 else placed + torch.tensor(shift, device=self._device)[:, None]

    def _placed(self, place: Tensor) -> Tensor:
        assert self._positions is not None
        if len(place) and int(place.max()) >= len(self._positions):
            raise ValueError(
                f"an answer would have {int(place.max()) + 1} tokens; there are {len(self._positions)} positions"
            )
        return self._positions[place]

    def _new_cache(self, samples: Sequence[Sample]) -> KVCache | MixedCache | None:
        layers: int = self.model.writer.n_layers  # pyright: ignore[reportAssignmentType]
        size = {"n_layers": layers, "n_samples": len(samples), "device": self._device}
        if self._caching == "none":
            return None
        if self._caching == "growing":
            return KVCache(**size)
        if self._caching == "static":
            held = [sample.n_tokens - (len(sample) if self._reads_memory else 0) for sample in samples]
            return StaticCache(**size, capacity=max(held) + self._room)
        rule, writer = self.model.rule(self.head), self.model.writer
        rules = writer.rules(rule) if hasattr(writer, "rules") else [rule] * layers  # pyright: ignore[reportCallIssue]
        cache = MixedCache(rules, n_samples=len(samples), device=self._device)
        if not any(isinstance(part, SlidingCache) for part in cache.parts):
            raise ValueError(
                f"cache='sliding' forgets, and {rule} of {self.head!r} looks back without end; use cache='growing', or "
                "a rule with a window such as Causal() & Window(left=256)"
            )
        return cache


def _check(cache: str, guidance: float, max_seq_len: int | None, positions: Tensor | None) -> None:
    """Refuses options out of range, and those that exclude each other.

    Raises:
        ValueError: as said.
    """
    if cache not in ("growing", "static", "sliding", "none"):
        raise ValueError(f"cache={cache!r} is not known; choose growing, static, sliding or none")
    if guidance < 0:
        raise ValueError(f"guidance={guidance} must be at least 0; 1 is no guidance")
    if max_seq_len is not None and max_seq_len < 2:
        raise ValueError(f"max_seq_len={max_seq_len} must be at least 2")
    if max_seq_len is not None and positions is not None:
        raise ValueError("positions fix the length of an answer, max_seq_len is for answers of any; give one")


def _given_nothing(samples: Sequence[Sample]) -> Batch:
    """The same answers without what is given; of a prompt that is gone on from, its last id alone."""
    return collate(
        [
            replace(sample, pieces=(), prefix=0, answer=sample.answer if len(sample) else last_of(sample.answer[0]))
            for sample in samples
        ]
    )
