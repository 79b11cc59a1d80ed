"""What is exported: models behind padded tensors, and how to tell that they say what the packed model says."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from einops import rearrange
from omniformer_tokenizers import Tokenizer, Tokens
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.batch import Batch, Sample, collate
from omniformer.core.attention.cross import CrossAttention
from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.rules import Full, Rule
from omniformer.core.towers import Towers
from omniformer.export.entrance import Entered, Entrance, Port, axes_of
from omniformer.export.padded import PaddedLayout, PaddedMemory, StepCache, apart, places, plan
from omniformer.export.parts import refuse, traceable
from omniformer.heads import (
    ClassificationHead,
    ContrastiveHead,
    DistilledHead,
    FeatureHead,
    LinkHead,
    NextTokenHead,
    ReconstructionHead,
    RegressionHead,
    TokenClassificationHead,
    VectorHead,
)
from omniformer.model import OmniFormer
from omniformer.predictor import Member

T = TypeVar("T")
Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""A program at work: tensors in the order of its inputs, to tensors in the order of its outputs."""

_NAMES: dict[type, str] = {
    RegressionHead: "values",
    ReconstructionHead: "values",
    LinkHead: "vectors",
    VectorHead: "embedding",
    FeatureHead: "last_hidden_state",
}


class Program(nn.Module, ABC):
    """A model behind tensors: padded batches and masks go in, padded outputs come out.

    A subclass implements `forward` over tensors in the order of `inputs`, which returns tensors in the order of
    `outputs`.

    Args:
        model: what is exported; its weights are shared, not copied.
        head: the name of the task, or None for the core's output.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def __init__(self, model: OmniFormer, head: str | None) -> None:
        super().__init__()
        self.rule: Rule = model.rule(head)
        refuse(self.rule)
        self.head, self.modalities = head, dict(model.modalities)
        # Beside the module's own parts, so that what is traced is not found twice.
        self._packed: dict[str, OmniFormer] = {"model": model}
        self.model = traceable(model)

    @property
    def packed(self) -> OmniFormer:
        """The model as it is: what the program must agree with."""
        return self._packed["model"]

    @abstractmethod
    def example(self) -> list[Tensor]:
        """Inputs to trace with, with no size that is 0 or 1."""

    @abstractmethod
    def trials(self) -> Iterator[Callable[[Run], float]]:
        """Comparisons with the packed model, over ragged batches of sizes and lengths other than those traced.

        Each runs the program and gives the largest difference found, in parts of the largest output where that is
        above 1.
        """


class Encoder(Program):
    """One pass over samples of any modalities: classes, numbers, scores of each token, or the core's output.

    Args:
        model: what is exported.
        head: the name of the task, or None for the core's output.
        tokenizers: of the modalities that come in, in the order in which the core reads them.

    Raises:
        ValueError: a part of the model cannot be traced.
    """

    def __init__(self, model: OmniFormer, head: str | None, tokenizers: Mapping[str, Tokenizer | None]) -> None:
        super().__init__(model, head)
        several = len(tokenizers) > 1
        self.entrances = nn.ModuleList(
            _entrance(self.model, modality, tokenizer, f"{modality}_seq" if several else "seq")
            for modality, tokenizer in tokenizers.items()
        )
        self.inputs = tuple(port for entrance in self.doors for port in entrance.ports)
        self.seq = " + ".join(entrance.ports[-1].shape[1] for entrance in self.doors)  # pyright: ignore[reportArgumentType,reportCallIssue]
        self.outputs = self._outputs()

    @property
    def doors(self) -> list[Entrance]:
        """The entrances, in the order of the modalities."""
        return list(self.entrances)  # pyright: ignore[reportReturnType]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The outputs of padded samples."""
        x, layout = self.read(tensors)
        return self.said(x, layout)

    def read(self, tensors: Sequence[Tensor]) -> tuple[Tensor, PaddedLayout]:
        """The core's output for every place of padded samples.

        Shapes:
            `[batch * seq, d_model]`.
        """
        x, layout = self.entered(tensors)
        core, rule = self.model.reader, self.rule
        if isinstance(core, Towers):
            number = self.modalities[self.doors[0].modality]
            core, rule = core.towers[number], core.rule(number, rule)
        return core(x, layout, plan=plan(rule, layout)), layout

    def entered(self, tensors: Sequence[Tensor]) -> tuple[Tensor, PaddedLayout]:
        """The tokens of all modalities, side by side.

        Shapes:
            `[batch * seq, d_model]`.
        """
        entered, rest = [], list(tensors)
        for door in self.doors:
            entered.append(door(rest[: len(door.ports)]))
            rest = rest[len(door.ports) :]
        return _joined(entered, [self.modalities[door.modality] for door in self.doors])

    def said(self, x: Tensor, layout: PaddedLayout) -> tuple[Tensor, ...]:
        """What the head says of the core's output."""
        if self.head is None:
            return (_rows(x, layout),)
        head: Any = self.model.heads[self.head]
        raw = _rows(head(x, layout), layout) if head.per_token else head(*apart(x, layout))[:-1]
        return (raw, head.predict(raw)) if isinstance(head, _CLASSES) else (raw,)

    def expected(self, batch: Batch) -> tuple[Tensor, ...]:
        """What the packed model says of a batch, samples or tokens end to end."""
        if self.head is None:
            return (self.packed.encode(batch)[0],)
        head: Any = self.packed.heads[self.head]
        raw = self.packed(batch, self.head)
        return (raw, head.predict(raw)) if isinstance(head, _CLASSES) else (raw,)

    @property
    def per_token(self) -> bool:
        """Whether outputs have a row for each token, or else one for each sample."""
        return self.head is None or bool(self.packed.heads[self.head].per_token)

    def example(self) -> list[Tensor]:
        """Three samples of all modalities."""
        return self.fed(self.samples((5, 3, 4), seed=0))

    def trials(self) -> Iterator[Callable[[Run], float]]:
        """Batches of one and of several, of one token and of many, padded on either side, and with empty samples."""
        for seed, lengths in enumerate(((6, 1, 9, 2, 7), (1,), (4, 0, 11)), start=1):
            for left in (False, True):
                yield lambda run, seed=seed, lengths=lengths, left=left: self._tried(
                    run, self.samples(lengths, seed=seed), left=left
                )

    def _tried(self, run: Run, samples: Sequence[Sample], *, left: bool) -> float:
        tensors = self.fed(samples, left=left)
        with torch.no_grad():
            expected = self.expected(collate(samples))
        found = run(tensors)
        if self.per_token:
            masks = torch.cat(
                [each.bool() for port, each in zip(self.inputs, tensors, strict=True) if port.name.endswith("mask")], 1
            )
            found = [each[masks] for each in found]
        return max(difference(a, b) for a, b in zip(found, expected, strict=True))

    def samples(self, lengths: Sequence[int], *, seed: int) -> list[Sample]:
        """Random samples of about as many tokens of each modality."""
        generator = torch.Generator().manual_seed(seed)
        return [
            Sample(
                id=f"drawn {i}",
                pieces=[door.drawn(door.fitting(n + j), generator) for j, door in enumerate(self.doors)],
            )
            for i, n in enumerate(lengths)
        ]

    def fed(self, samples: Sequence[Sample], *, left: bool = False) -> list[Tensor]:
        """The inputs of samples that have a piece of each modality, padded on the right, or on the left."""
        return [
            tensor
            for j, door in enumerate(self.doors)
            for tensor in door.fed([sample.pieces[j] for sample in samples], left=left)
        ]

    def _outputs(self) -> tuple[Port, ...]:
        with torch.no_grad():
            found = self(*self.example())
        shape = ("batch", self.seq) if self.per_token else ("batch",)
        head = None if self.head is None else self.packed.heads[self.head]
        first = "last_hidden_state" if head is None else _NAMES.get(type(head), "logits")
        names = [(first, "what the model says, before any softmax" if first == "logits" else "what the model says")]
        names.append(("probabilities", "the same as probabilities"))
        return tuple(
            Port(name=name, dtype="float32", shape=(*shape, out.shape[-1]), meaning=meaning)
            for (name, meaning), out in zip(names, found, strict=False)
        )


class Tower(Encoder):
    """One side of a model that compares modalities: samples of one modality in, unit vectors out, whose dot products
    are similarities.

    Args:
        model: what is exported.
        head: the name of the contrastive task.
        tokenizers: of the one modality.
    """

    def said(self, x: Tensor, layout: PaddedLayout) -> tuple[Tensor, ...]:
        """The unit vectors."""
        assert self.head is not None
        head: Any = self.model.heads[self.head]
        return (head.embed(*apart(x, layout), self.doors[0].modality)[:-1],)

    def expected(self, batch: Batch) -> tuple[Tensor, ...]:
        """The unit vectors of the packed model."""
        assert self.head is not None
        head: Any = self.packed.heads[self.head]
        return (head.embed(*self.packed.encode(batch, self.head), self.doors[0].modality),)

    def _outputs(self) -> tuple[Port, ...]:
        assert self.head is not None
        head: Any = self.packed.heads[self.head]
        meaning = "a unit vector for each sample; dot products are similarities"
        return (Port(name="embedding", dtype="float32", shape=("batch", head.d_embedding), meaning=meaning),)


class Given(Encoder):
    """What a task reads before it writes, as keys and values for each layer of the decoder that reads them.

    Args:
        model: what is exported; its decoder has cross-attention.
        head: the name of the task that writes.
        tokenizers: of the modalities that are given.
    """

    def __init__(self, model: OmniFormer, head: str, tokenizers: Mapping[str, Tokenizer | None]) -> None:
        super().__init__(model, head, tokenizers)
        self.rule = Full()  # what is given is read in both directions: see `OmniFormer.memory`

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The mask of what was read, then keys and values for each layer."""
        if self.model.reader is self.model.writer:  # nothing but embedders stands before the decoder
            x, layout = self.entered(tensors)
        else:
            x, layout = self.read(tensors)
        states = [each for cross in crosses(self.model).values() for each in cross.project_memory(x)]
        rows = "samples keys kv_heads head_dim -> samples kv_heads keys head_dim"
        return layout.valid.long(), *(rearrange(each.unflatten(0, layout.valid.shape), rows) for each in states)

    def expected(self, batch: Batch) -> tuple[Tensor, ...]:
        """The same of the packed model, tokens end to end."""
        memory = self.packed.memory(batch).x
        return tuple(each for cross in crosses(self.packed).values() for each in cross.project_memory(memory))

    def _tried(self, run: Run, samples: Sequence[Sample], *, left: bool) -> float:
        with torch.no_grad():
            expected = self.expected(collate(samples))
        mask, *states = run(self.fed(samples, left=left))
        found = [each.transpose(1, 2)[mask.bool()] for each in states]
        return max(difference(a, b) for a, b in zip(found, expected, strict=True))

    def _outputs(self) -> tuple[Port, ...]:
        return memory_ports(self.model, self.seq)


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
        super().__init__(model, head)
        reader = self.model.heads[head]
        assert isinstance(reader, NextTokenHead)
        modality = reader.modality
        # What is written has no features, as in `Session`.
        self.entrance = _entrance(self.model, modality, tokenizer, "new", featured=False)
        if not self.entrance.counted:
            raise ValueError(
                f"{head!r} writes {modality}, whose tokens lie on {self.entrance.axes} axes; exported programs write "
                "what lies on one axis only, such as text"
            )
        self._given = {} if given is None else {"given": given}  # a program of its own, no part of this one
        self.attentions = _attentions(self.model.writer, SelfAttention)
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
            shape=("batch", "new", reader.ids.out_features),
            meaning="scores of the id behind each new one",
        )
        memory = () if given is None else memory_ports(self.model, "given")
        past = _state_ports("past_key_values", self.attentions, "past", "of the earlier ids")
        present = _state_ports("present", self.attentions, total, "of all ids: the past of the next step")
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
        held, index = mask.bool(), places(mask.bool())
        now, at = held.narrow(1, length, new), index.narrow(1, length, new)
        number = self.modalities[self.entrance.modality]
        x, layout = _joined([self.entrance.enter([ids, mask], now, at)], [number], index=at)
        positions, modality = index.flatten()[:, None].float(), _filled(held, number)
        keys = PaddedLayout(held, index=index, positions=positions, modality=modality)
        read, known = self._read(memory, batch)
        cache = StepCache(layout, keys, past[::2], past[1::2], known)
        out = self.model.writer(x, layout, self.rule, cache=cache, memory=read)
        assert self.head is not None
        scores = self.model.heads[self.head](out, layout).unflatten(0, ids.shape)
        return (scores, *(state for layer in cache.layers for state in (layer.keys, layer.values)))

    def _read(
        self, memory: Sequence[Tensor], batch: int
    ) -> tuple[PaddedMemory | None, dict[int, tuple[Tensor, Tensor]]]:
        """What was given, and its keys and values by layer."""
        if not memory:
            return None, {}
        mask, *states = memory
        for each in states:
            torch._check(each.shape[0] == batch and each.shape[2] == mask.shape[1])
        torch._check(mask.shape[0] == batch)
        pairs = zip(states[::2], states[1::2], strict=True)
        return PaddedMemory(PaddedLayout(mask.bool())), dict(zip(crosses(self.model), pairs, strict=True))

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
        prompts = [_cut(piece, n) for piece, n in zip(pieces, begun, strict=True)]
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


_CLASSES = (ClassificationHead, DistilledHead, TokenClassificationHead)


def programs(model: OmniFormer, name: str | None, member: Member | None) -> dict[str, Program]:
    """The programs of a task, by the name of their file.

    Args:
        model: in evaluation mode.
        name: the name of the task; None for a model without heads.
        member: what belongs to the task.

    Raises:
        ValueError: the task, or a part of the model, cannot be exported; says which and why.
    """
    tokenizers: dict[str, Tokenizer | None] = dict(member.tokenizers) if member else {}
    tokenizers = tokenizers or dict.fromkeys(model.embedders)
    if name is None:
        return {"model": Encoder(model, None, tokenizers)}
    head = model.heads[name]
    refuse(head)
    if isinstance(head, ContrastiveHead):
        return {each: Tower(model, name, {each: tokenizers.get(each)}) for each in head.modalities}
    if not isinstance(head, NextTokenHead) or sees_ahead(model.rule(name)):
        return {"model": Encoder(model, name, tokenizers)}
    written = tokenizers.get(head.modality)
    if model.writer.reads_memory:
        names = (member.given if member else ()) or [each for each in model.embedders if each != head.modality]
        given = Given(model, name, {each: tokenizers.get(each) for each in names})
        return {"encoder": given, "decoder": Decoder(model, name, written, given)}
    if member and member.given:
        raise ValueError(
            f"{name!r} reads {', '.join(member.given)} and what it writes as one sequence, which cannot be exported; "
            "let a core with cross-attention read it (core=encoder_decoder_tiny)"
        )
    return {"decoder": Decoder(model, name, written)}


def sees_ahead(rule: Rule) -> bool:
    """Whether a token may attend to one behind it.

    Example:
        >>> from omniformer.core.rules import Causal, Full
        >>> sees_ahead(Causal()), sees_ahead(Full())
        (False, True)
    """
    refuse(rule)
    return bool(plan(rule, PaddedLayout(torch.ones(1, 2, dtype=torch.bool))).kernel.mask[..., 0, 1].any())


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference, in parts of the largest expected number where that is above 1; infinite where what was
    found has another shape or is no number.

    Example:
        >>> difference(torch.tensor([100.0]), torch.tensor([200.0]))
        0.5
    """
    if found.shape != expected.shape or not found.isfinite().all():
        return float("inf")
    if not found.numel():
        return 0.0
    return float(((found - expected).abs().max() / expected.abs().max().clamp(min=1.0)).detach())


def crosses(model: OmniFormer) -> dict[int, CrossAttention]:
    """The attention to what is given, by number of layer."""
    return _attentions(model.writer, CrossAttention)


def memory_ports(model: OmniFormer, length: str) -> tuple[Port, ...]:
    """What is given as tensors: which tokens it has, and their keys and values for each layer that reads them.

    Args:
        model: whose decoder reads it.
        length: the axis of its tokens.
    """
    mask = Port(
        name="memory_mask",
        dtype="int64",
        shape=("batch", length),
        meaning="1 for a token that was given, 0 for padding",
    )
    return (mask, *_state_ports("memory", crosses(model), length, "of what is given"))


def _state_ports(name: str, attentions: Mapping[int, Any], length: str, whose: str) -> list[Port]:
    return [
        Port(
            name=f"{name}.{layer}.{kind}",
            dtype="float32",
            shape=("batch", each.n_kv_heads, length, each.head_dim),
            meaning=f"{kind}s {whose}, in layer {layer}",
        )
        for layer, each in attentions.items()
        for kind in ("key", "value")
    ]


def _attentions(core: Any, kind: type[T]) -> dict[int, T]:
    """The attention of one kind of each layer that has one."""
    found = {i: [each for each in block.modules() if isinstance(each, kind)] for i, block in enumerate(core.blocks)}
    return {i: each[0] for i, each in found.items() if each}


def _entrance(
    model: OmniFormer, modality: str, tokenizer: Tokenizer | None, seq: str, *, featured: bool = True
) -> Entrance:
    if modality not in model.embedders:
        raise ValueError(f"this model has no embedder for {modality!r}, only for {', '.join(model.embedders)}")
    embedder = model.embedders[modality]
    return Entrance(modality, embedder, axes=axes_of(embedder, tokenizer), seq=seq, featured=featured)


def _joined(
    entered: Sequence[Entered], numbers: Sequence[int], index: Tensor | None = None
) -> tuple[Tensor, PaddedLayout]:
    """The tokens of all modalities, one after the other in every row."""
    valid = torch.cat([each.valid for each in entered], dim=1)
    axes = max(each.positions.shape[-1] for each in entered)
    positions = torch.cat([F.pad(each.positions, (0, axes - each.positions.shape[-1])) for each in entered], dim=1)
    modality = torch.cat(
        [_filled(each.valid, n).view_as(each.valid) for each, n in zip(entered, numbers, strict=True)], 1
    )
    layout = PaddedLayout(valid, index=index, positions=positions.flatten(0, 1), modality=modality.flatten())
    return torch.cat([each.x for each in entered], dim=1).flatten(0, 1), layout


def _filled(valid: Tensor, number: int) -> Tensor:
    return torch.full_like(valid, number, dtype=torch.int64).flatten()


def _rows(rows: Tensor, layout: PaddedLayout) -> Tensor:
    """Rows of all places as a padded tensor, zero in padding."""
    return rows.unflatten(0, layout.valid.shape) * layout.valid[..., None].to(rows.dtype)


def _cut(piece: Tokens, n: int) -> Tokens:
    return Tokens(values=piece.values[:n], positions=piece.positions[:n], modality=piece.modality)
