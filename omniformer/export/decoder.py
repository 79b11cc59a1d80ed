"""What writes, one step after the other: keys and values come in and go out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from omniformer_tokenizers import Tokenizer, Tokens
from torch import Tensor

from omniformer.batch import Sample, collate
from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.memory import Memory
from omniformer.core.padded import PaddedLayout
from omniformer.core.padded_cache import PaddedCache
from omniformer.export.encoder import Given
from omniformer.export.entrance import Port
from omniformer.export.program import (
    Program,
    Run,
    attentions_of,
    crosses,
    cut,
    difference,
    entrance_of,
    memory_ports,
    state_ports,
)
from omniformer.model import OmniFormer


class Decoder(Program):
    """One step of writing: new ids of each sample, and keys and values of all earlier ones, to scores of the ids that
    come next and the keys and values of all.

    The first step reads the prompts, with nothing earlier (a length of 0); each further one reads the ids just written.
    Prompts may be padded on either side.

    Args:
        model: what is exported.
        head: the name of the task that writes.
        tokenizer: of what is written, where there is one.
        given: the program of what the task reads first, whose outputs go into every step; None for a language model.

    Raises:
        ValueError: a part of the model cannot be traced.
    """

    def __init__(self, model: OmniFormer, head: str, tokenizer: Tokenizer | None, given: Given | None = None) -> None:
        modality = model.head(head).modality
        assert modality is not None, f"{head!r} scores no ids that could be written"
        super().__init__(model, head, [modality])
        # What is written has no features, as in `Session`.
        self.entrance = entrance_of(self.model, modality, tokenizer, "new", featured=False)
        if not self.entrance.counted:
            raise ValueError(
                f"{head!r} writes {modality}, whose tokens lie on {self.entrance.axes} axes; exported programs write "
                "what lies on one axis only, such as text"
            )
        self._given = {} if given is None else {"given": given}  # a program of its own, no part of this one
        self.attentions = attentions_of(self.model.writer, SelfAttention)
        ids, total = self.entrance.ports[0], "past + new"
        mask = Port(
            name=self.entrance.ports[-1].name,
            dtype="int64",
            shape=("batch", total),
            meaning="1 for a token, 0 for padding: of the earlier ids, then of the new ones",
        )
        logits = Port(
            name="logits",
            dtype="float32",
            shape=("batch", "new", self._n_ids(head)),
            meaning="scores of the id behind each new one",
        )
        memory = () if given is None else memory_ports(self.model, "given")
        past = state_ports("past_key_values", self.attentions, "past", "of the earlier ids")
        present = state_ports("present", self.attentions, total, "of all ids: the past of the next step")
        self.n_memory = len(memory)
        self.inputs, self.outputs = (ids, mask, *memory, *past), (logits, *present)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Scores, then keys and values of all tokens."""
        ids, mask, *rest = tensors
        memory, past = rest[: self.n_memory], rest[self.n_memory :]
        batch, new = ids.shape
        length = past[0].shape[2]
        for each in past:
            torch._check(each.shape[0] == batch and each.shape[2] == length)
        torch._check(mask.shape[0] == batch and mask.shape[1] == length + new)
        seen = self.entrance.layout(mask.bool())
        now = seen.last(new)
        read, known = self._read(memory, batch)
        cache = PaddedCache(now, seen, past, known)
        out = self.model.writer(self.entrance.embed([ids], now), now, self.rule, cache=cache, memory=read)
        assert self.head is not None
        return (self.model.heads[self.head](out, now).unflatten(0, ids.shape), *cache.states)

    def _n_ids(self, head: str) -> int:
        """How many ids are scored."""
        x = torch.zeros(1, self.model.writer.d_model)  # pyright: ignore[reportArgumentType,reportCallIssue]
        return self.model.heads[head](x, PaddedLayout(valid=torch.ones(1, 1, dtype=torch.bool))).shape[-1]

    def _read(self, memory: Sequence[Tensor], batch: int) -> tuple[Memory | None, dict[int, tuple[Tensor, Tensor]]]:
        """What was given, and its keys and values by layer."""
        if not memory:
            return None, {}
        mask, *states = memory
        for each in states:
            torch._check(each.shape[0] == batch and each.shape[2] == mask.shape[1])
        torch._check(mask.shape[0] == batch)
        pairs = zip(states[::2], states[1::2], strict=True)
        layout = PaddedLayout(valid=mask.bool())
        nothing = torch.zeros(layout.n_tokens, 0)  # but keys and values, which every layer that reads it has by now
        return Memory(x=nothing, layout=layout), dict(zip(crosses(self.model), pairs, strict=True))

    def nothing(self, batch: int) -> list[Tensor]:
        """The keys and values of no earlier ids."""
        return self._past(lambda each: torch.zeros(batch, each.n_kv_heads, 0, each.head_dim))

    def example(self) -> list[Tensor]:
        """Four new ids of three samples behind five earlier ones."""
        generator = torch.Generator().manual_seed(0)
        ids = torch.stack([self.entrance.drawn(4, generator).values for _ in range(3)])
        past = self._past(lambda each: torch.randn(3, each.n_kv_heads, 5, each.head_dim, generator=generator))
        given = self._given.get("given")
        with torch.no_grad():
            memory = () if given is None else given(*given.example())
        return [ids, torch.ones(3, 9, dtype=torch.int64), *memory, *past]

    def trials(self) -> Iterator[Callable[[Run], float]]:
        """Ragged prompts on either side, then step by step, for one sample and for several."""
        for seed, lengths in enumerate(((6, 2, 9, 3), (3,), (2, 8)), start=1):
            for left in (False, True):
                yield lambda run, seed=seed, lengths=lengths, left=left: self._tried(run, lengths, seed, left=left)

    def _tried(self, run: Run, lengths: Sequence[int], seed: int, *, left: bool) -> float:
        generator = torch.Generator().manual_seed(seed)
        pieces = [self.entrance.drawn(self.entrance.fitting(n), generator) for n in lengths]
        memory, expected = self._said(pieces, seed, left=left)
        begun = [max(1, len(piece) // 2) for piece in pieces]
        prompts = [cut(piece, n) for piece, n in zip(pieces, begun, strict=True)]
        ids, mask = self.entrance.fed(prompts, left=left)
        found, *past = run([ids, mask, *memory, *self.nothing(len(pieces))])
        rows = [[row[each.bool()]] for row, each in zip(found, mask, strict=True)]
        for step in range(max(len(piece) - n for piece, n in zip(pieces, begun, strict=True))):
            at = [min(n + step, len(piece) - 1) for piece, n in zip(pieces, begun, strict=True)]
            goes_on = torch.tensor([n + step < len(piece) for piece, n in zip(pieces, begun, strict=True)])
            ids = torch.stack([piece.values[i] for piece, i in zip(pieces, at, strict=True)])
            mask = torch.cat([mask, goes_on[:, None].long()], dim=1)
            found, *past = run([ids[:, None], mask, *memory, *past])
            for row, new, more in zip(rows, found, goes_on, strict=True):
                row.extend([new] if more else [])
        return max(difference(torch.cat(row), each) for row, each in zip(rows, expected, strict=True))

    @torch.no_grad()
    def _said(self, pieces: Sequence[Tokens], seed: int, *, left: bool) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """What is given to samples, and the scores of the packed model for all ids of each."""
        assert self.head is not None
        lengths = [len(piece) for piece in pieces]
        given = self._given.get("given")
        if given is None:
            samples = [Sample(id=f"drawn {i}", pieces=[piece]) for i, piece in enumerate(pieces)]
            return (), self.packed(collate(samples), self.head).split(lengths)
        samples = given.samples([n + 1 for n in lengths], seed=seed)
        memory = given(*given.fed(samples, left=left))
        samples = [replace(sample, answer=[piece]) for sample, piece in zip(samples, pieces, strict=True)]
        x, layout = self.packed.decode(collate(samples), self.head)
        head: Any = self.packed.heads[self.head]
        return memory, head(x, layout).split(lengths)

    def _past(self, make: Callable[[Any], Tensor]) -> list[Tensor]:
        return [make(each) for each in self.attentions.values() for _ in ("key", "value")]
