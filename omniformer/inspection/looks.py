"""What a trained model looks at in one sample: as it reads it, or as it writes the answer to it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import torch
from omniformer_tokenizers import Tokenizer, Tokens, framed
from torch import Tensor, nn

from omniformer.batch import Sample, collate
from omniformer.core.layout import Layout
from omniformer.generation import Greedy, Writer, begin, write
from omniformer.inspection.alignment import alignment_maps, read_by
from omniformer.inspection.maps import Maps, attending, attention_maps, entropy, head_effects, modality_flow, rollout
from omniformer.model import OmniFormer
from omniformer.predictor import Predictor

DOES_NOTHING = 0.01  # of the length of the output: less is a head that does nothing
_MOST_WEIGHTS = 2**28  # 1 GiB
MOST_HEADS = 400  # which are left out one by one


@dataclass(frozen=True, kw_only=True, eq=False)
class Look(ABC):
    """What a model looked at in a sample.

    Args:
        id: the name of the sample.
        head: the task that read it; None for a model without tasks.
        said: what the model says of it, or writes; empty where it does not.
        expected: what it should have written; empty where nobody knows.
        pieces: what it was given, by modality.
        tokenizers: of the pieces.
        maps: of each layer `[heads, queries, keys]`.
        effects: how much each head does, `[layers, heads]`, as `head_effects` measures it; None where it was not
            measured, as for a model of more than 400 heads.
    """

    id: str
    head: str | None
    said: str
    expected: str = ""
    pieces: Sequence[Tokens]
    tokenizers: Sequence[Tokenizer]
    maps: Sequence[Tensor]
    effects: Tensor | None

    @property
    @abstractmethod
    def labels(self) -> list[str]:
        """What the rows of `weights` are."""

    @property
    @abstractmethod
    def weights(self) -> Tensor:
        """How much each token that was given counts, in several views.

        Shapes:
            float32 `[rows, tokens]`.
        """

    def at(self, layer: int, head: int | None = None) -> Self:
        """The same by one layer, or one head of it, alone.

        Args:
            layer: its number, from 1 as in pictures.
            head: the number of the head, from 1; all of them by default.

        Raises:
            ValueError: there is no such layer or head.
        """
        _check_number("layer", layer, len(self.maps))
        maps = self.maps[layer - 1]
        if head is not None:
            _check_number("head", head, len(maps))
            maps = maps[head - 1 : head]
        return replace(self, maps=[maps], effects=None)

    @property
    def flow(self) -> Tensor | None:
        """Which share of its weight each modality gives to each other one, by layer `[layers, from, to]`; None where
        there is one modality, or words look at what was given.
        """
        return None

    @cached_property
    def parts(self) -> list[Tensor]:
        """The weights of each piece, `[rows, tokens of the piece]`."""
        return list(self.weights.split([len(piece) for piece in self.pieces], dim=1))

    @cached_property
    def entropy(self) -> Tensor:
        """How widely each head looks, in nats, `[layers, heads]`."""
        return entropy([[each] for each in self.maps])

    @property
    def idle(self) -> list[tuple[int, int]]:
        """Layer and number of the heads that do next to nothing: without one the output changes by less than 1 %."""
        if self.effects is None:
            return []
        return [(layer, head) for layer, head in (self.effects < DOES_NOTHING).nonzero().tolist()]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading(Look):
    """What a model looked at while it read.

    The first row of `weights` is how much of each token reaches what the task is told of the sample, through all layers
    ([Abnar and Zuidema 2020](https://arxiv.org/abs/2005.00928)); then one a layer: the weight that each token gets
    there, the mean over heads.

    Args:
        counts: how much each token of the output counts for the task, as its head pools them; of a task that
            writes the last one alone. `[tokens]`, which add up to one.
    """

    counts: Tensor
    heads: tuple[str, ...] = ()
    """The names of heads, which have a row each where one layer is looked at by itself."""

    @property
    def labels(self) -> list[str]:
        return list(self.heads) or ["all layers", *(f"layer {layer}" for layer in range(1, len(self.maps) + 1))]

    @property
    def weights(self) -> Tensor:
        rows = self.maps[0] if self.heads else (self.rollout, *(each.float().mean(0) for each in self.maps))
        return torch.stack([self._read(each) for each in rows])

    def at(self, layer: int, head: int | None = None) -> Self:
        found = super().at(layer, head)
        numbers = range(1, len(found.maps[0]) + 1) if head is None else [head]
        return replace(found, heads=tuple(f"layer {layer}, head {number}" for number in numbers))

    @property
    def rollout(self) -> Tensor:
        """How much of each token reaches each token of the output, `[tokens, tokens]`; registers of the core
        come first.
        """
        return rollout([[each] for each in self.maps])[0]

    @property
    def flow(self) -> Tensor | None:
        if len(self.pieces) < 2:
            return None
        which = torch.cat([torch.full((len(piece),), i) for i, piece in enumerate(self.pieces)])
        layout = Layout(lengths=torch.tensor([len(which)]), modality=which)
        return modality_flow([[self._tokens(each)] for each in self.maps], layout, len(self.pieces))

    def _read(self, weights: Tensor) -> Tensor:
        return self.counts @ self._tokens(weights)

    def _tokens(self, weights: Tensor) -> Tensor:
        """Without registers, which stand in front of the tokens."""
        n = len(self.counts)
        return weights[..., -n:, -n:].float()


@dataclass(frozen=True, kw_only=True, eq=False)
class Writing(Look):
    """What a model looked at while it wrote an answer: the rows of `weights` are the tokens written, each the mean over
    layers and heads of `alignment_maps`.

    Args:
        words: the tokens written.
    """

    words: Sequence[str]

    @property
    def labels(self) -> list[str]:
        return list(self.words)

    @property
    def weights(self) -> Tensor:
        return torch.stack([each.float().mean(0) for each in self.maps]).mean(0)[: len(self.words)]


def look(predictor: Predictor, inputs: Any, *, member: str | None = None, truncate: bool = True) -> list[Look]:
    """What a model looks at in raw inputs of any modality: as it reads them, or as it writes the answers to them.

    Args:
        predictor: as `omniformer.load` makes it.
        inputs: as for `Predictor.predict`.
        member: which task reads them; by default the one that fits each input's modality.
        truncate: as for `Predictor.predict`.

    Raises:
        ValueError: as for `Predictor.predict`; or the core computes no attention weights, or more than fit into 1 GiB.

    Example:
        >>> (found,) = look(load("outputs/vision/latest"), Path("digit.png"))  # doctest: +SKIP
        >>> found.weights[0]  # how much each patch counts, through all layers  # doctest: +SKIP
        >>> found.idle  # heads that do nothing  # doctest: +SKIP
    """
    found = []
    for name, raw in predictor.named(inputs):
        task = member or (predictor.route(raw, name) if predictor.members else None)
        (sample,) = predictor.samples([(name, raw)], task, truncate=truncate)
        found.append(look_at(predictor, sample, task))
    return found


@torch.no_grad()
def look_at(
    predictor: Predictor, sample: Sample, member: str | None, *, max_new_tokens: int = 64, effects: bool = True
) -> Look:
    """The same of a sample in tokens; what it has as its answer is what is expected.

    Args:
        predictor: as `omniformer.load` makes it.
        sample: with what is given, and what is to be written.
        member: which task reads it; None for a model without tasks.
        max_new_tokens: when an answer ends at the latest.
        effects: whether to measure what each head does, at the cost of a pass of the model for each.

    Raises:
        ValueError: as for `look`.
    """
    if not len(sample):
        raise ValueError(f"{sample.id} has no token that could be looked at")
    writes = member is not None and predictor.members[member].given and predictor.model.makes(member) == "ids"
    writer = predictor.writer(member) if writes else None
    if isinstance(writer, Writer) and writer.writes_text:
        return _writing(writer, sample, predictor.members[writer.head].tokenizers, max_new_tokens, effects)
    return _reading(predictor, sample, member, effects)


def _reading(predictor: Predictor, sample: Sample, member: str | None, effects: bool) -> Reading:
    model = predictor.model
    batch = collate([replace(sample, answer=[])]).to(next(model.parameters()).device)
    x, layout = model.embed(batch)
    rule, layers = model.rule(member), attending(model.reader)
    _check_size(layers, layout.n_tokens, sample.id)
    maps = attention_maps(model.reader, x, layout, rule)
    task = None if member is None else predictor.members[member]
    known = predictor.tokenizers if task is None else task.tokenizers
    return Reading(
        id=sample.id,
        head=member,
        said="" if member is None else _class(model, member, model.reader(x, layout, rule), layout, task),
        pieces=sample.pieces,
        tokenizers=[known[piece.modality] for piece in sample.pieces],
        maps=[samples[0].cpu() for samples in maps],
        effects=_effects(lambda: model.reader(x, layout, rule), layers, maps, "plan") if effects else None,
        counts=_counts(model, member, layout.n_tokens),
    )


def _writing(
    writer: Writer, sample: Sample, tokenizers: Mapping[str, Tokenizer], longest: int, effects: bool
) -> Writing:
    start, stop = writer.tokenizer.start, writer.tokenizer.stop
    assert start is not None
    model, decode = writer.model, writer.tokenizer.decode
    device = next(model.parameters()).device
    ((best,),) = write(
        model,
        writer.head,
        begin(collate([replace(sample, answer=[])]), start, modality=writer.modality).to(device),
        strategy=Greedy(),
        stop=() if stop is None else (stop,),
        max_new_tokens=longest,
        allowed=writer.allowed,
    )
    places = torch.arange(len(best.ids)).float()[:, None]
    written = Tokens(values=torch.tensor(best.ids).long(), positions=places, modality=writer.modality)
    answered = collate([replace(sample, answer=[framed(written, start=start)])]).to(device)
    layers, field = read_by(model)
    _check_size(layers, len(sample) + len(best.ids), sample.id)
    maps = alignment_maps(model, writer.head, answered)
    return Writing(
        id=sample.id,
        head=writer.head,
        said=decode(list(best.ids)),  # pyright: ignore[reportArgumentType]
        expected=decode(sample.answer[0].values.tolist()) if sample.answer else "",  # pyright: ignore[reportArgumentType]
        pieces=sample.pieces,
        tokenizers=[tokenizers[piece.modality] for piece in sample.pieces],
        maps=[samples[0].cpu() for samples in maps],
        effects=_effects(lambda: model.decode(answered, writer.head)[0], layers, maps, field) if effects else None,
        words=spelled(writer.tokenizer, best.ids) + ["(end)"] * best.ended,
    )


def _check_number(what: str, number: int, n: int) -> None:
    if not 1 <= number <= n:
        raise ValueError(f"{what}: received {number}, accepted 1 to {n}")


def _check_size(layers: Sequence[nn.Module], n_tokens: int, name: str) -> None:
    weights = sum(int(layer.n_heads) for layer in layers) * n_tokens**2  # pyright: ignore[reportArgumentType]
    if weights > _MOST_WEIGHTS:
        raise ValueError(
            f"{name} has {n_tokens:,} tokens, between which this model has {weights:,} weights; at most "
            f"{_MOST_WEIGHTS:,}, 1 GiB, are kept, give less of it"
        )


def _effects(run: Any, layers: Sequence[nn.Module], maps: Maps, field: Any) -> Tensor | None:
    too_many = sum(len(samples[0]) for samples in maps) > MOST_HEADS
    # A recurrent reader has weights, but no head that could be left out.
    return None if too_many or not layers else head_effects(run, layers, maps, field=field).cpu()


def _class(model: OmniFormer, member: str, x: Tensor, layout: Layout, task: Any) -> str:
    """The most probable classes, where the task has classes of whole samples."""
    head = model.head(member)
    if not head.tells_classes or head.per_token or not task.labels:
        return ""
    found = head.predict(head(x, layout))[0].tolist()
    ranked = sorted(zip(task.labels, found, strict=True), key=lambda each: -each[1])
    return ", ".join(f"{label} {probability:.3f}" for label, probability in ranked[:3])


def _counts(model: OmniFormer, member: str | None, n_tokens: int) -> Tensor:
    """How much each token of the output counts; where the head does not say, all alike, or of a task that writes the
    last one, from which it goes on.
    """
    head = None if member is None else model.head(member)
    pool = getattr(head, "pool", None)
    if isinstance(pool, nn.Module) and not list(pool.parameters()):
        # What it makes of tokens that are nothing but their number is how much it takes of each.
        device = next(model.parameters()).device
        taken = pool(torch.eye(n_tokens, device=device), Layout(lengths=torch.tensor([n_tokens]), device=device))
        taken = taken.reshape(-1, n_tokens).sum(0).cpu()
        return taken / taken.sum()
    if member is not None and model.makes(member) == "ids":
        return torch.eye(n_tokens)[-1]
    return torch.full((n_tokens,), 1 / n_tokens)


def spelled(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Each id as text. Where a text has blanks inside its tokens, a dot marks those that go on a word."""
    said = [tokenizer.decode([each]) for each in ids]
    if not any(each[:1].isspace() and each.strip() for each in said):
        return [each if each.strip() else repr(each)[1:-1] for each in said]
    marked = [
        each if i == 0 or each[:1].isspace() or not each[:1].isalnum() else f"·{each}" for i, each in enumerate(said)
    ]
    return [each.strip() or repr(each)[1:-1] for each in marked]
