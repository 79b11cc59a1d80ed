"""What travels from the data to the model: one sample, and many samples as one batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from omniformer_tokenizers import Movable, Packed, Tokens, pack
from torch import Tensor

WRITTEN = "written"
"""The feature of tokens of conversations that tells the assistant's words."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """One training example: pieces of any modalities in the order in which the core reads them, and what to predict.

    Args:
        id: names the sample in error messages and keys its randomness; unique and stable within a data set.
        pieces: its tokens, piece by piece. A modality that is missing is a piece that is not there.
        targets: what to predict of the sample as a whole, by name.
        token_targets: what to predict of each token, by name; one row for each token of all pieces together.
        prefix: how many leading tokens the rule `Prefix` lets the whole sample read; those of an answer count too,
            behind the pieces, all of which are read in whole where there is one.
        answer: pieces of what a model is to write of its own, given the others: a translation, a caption, an image.

    Raises:
        ValueError: a token target has another number of rows than the pieces have tokens.
    """

    id: str
    pieces: Sequence[Tokens]
    answer: Sequence[Tokens] = ()
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    token_targets: Mapping[str, Tensor] = field(default_factory=dict)
    prefix: int = 0

    def __post_init__(self) -> None:
        for name, target in self.token_targets.items():
            if len(target) != len(self):
                raise ValueError(
                    f"sample {self.id!r}: {len(target)} rows of token target {name!r} for {len(self)} tokens"
                )

    def __len__(self) -> int:
        """The number of tokens of its pieces."""
        return sum(len(piece) for piece in self.pieces)

    @property
    def n_tokens(self) -> int:
        """The number of tokens of its pieces and its answer: what it costs."""
        return len(self) + sum(len(piece) for piece in self.answer)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch(Movable):
    """Many samples, packed: each modality's tokens end to end, and where each of them stands in the joint sequence.

    A sample's sequence is its pieces one after the other; the batch's sequence is its samples one after the other. The
    tokens of one modality lie together in `parts`, so that one embedder call serves them all, and `places` interleaves
    the results. What the samples are to answer is a batch of its own, `answer`. `Batch` is made by `collate`.

    Shapes:
        lengths int64 `[samples]`, on the host: tokens of each sample, all modalities together; `counts[modality]` the
        same for one modality; `places[modality]` int64 `[tokens of that modality]`; targets `[samples, ...]`;
        token_targets `[tokens, ...]`.
    """

    parts: Mapping[str, Packed]
    places: Mapping[str, Tensor]
    lengths: Tensor
    counts: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]
    token_targets: Mapping[str, Tensor]
    ids: tuple[str, ...]
    prefix: Tensor
    answer: "Batch | None" = None

    _host_only = ("lengths", "counts", "ids")

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.lengths)

    @property
    def n_tokens(self) -> int:
        """The number of tokens, all samples and modalities together, those of the answers included: what it costs."""
        return int(self.lengths.sum()) + (self.answer.n_tokens if self.answer is not None else 0)

    def select(self, *modalities: str) -> "Batch":
        """The same samples with their tokens of some modalities only, as if they had no others.

        Samples without any stay, with zero tokens; answers are left out.

        Example:
            >>> import torch
            >>> word = Tokens(values=torch.tensor([7, 9]), positions=torch.zeros(2, 1), modality="text")
            >>> frame = Tokens(values=torch.zeros(3, 4), positions=torch.zeros(3, 1), modality="audio")
            >>> batch = collate([Sample(id="a", pieces=[word, frame]), Sample(id="b", pieces=[frame])])
            >>> batch.select("text").lengths.tolist(), batch.select("audio").places["audio"].tolist()
            ([2, 0], [0, 1, 2, 3, 4, 5])
        """
        chosen = [name for name in self.parts if name in modalities]
        lengths = sum((self.counts[name] for name in chosen), start=torch.zeros_like(self.lengths))
        kept = self.prefix.new_zeros(int(self.lengths.sum()), dtype=torch.bool)
        for name in chosen:
            kept[self.places[name]] = True
        place = kept.cumsum(0) - 1
        return replace(
            self,
            parts={name: self.parts[name] for name in chosen},
            places={name: place[self.places[name]] for name in chosen},
            lengths=lengths,
            counts={name: self.counts[name] for name in chosen},
            token_targets={name: rows[kept] for name, rows in self.token_targets.items()},
            prefix=torch.minimum(self.prefix, lengths.to(self.prefix.device)),
            answer=None,
        )


class MicroBatch(dict[str, Batch]):
    """What one backward pass reads, by the name of the data set: a step has one of them, or several that accumulate.

    Args:
        batches: by the name of the data set.
        step: all micro-batches of the step that are not done yet, this one among them, on the host.
        done: how many micro-batches of the step there were before those.
        place: of this one in `step`.
    """

    def __init__(
        self, batches: Mapping[str, Batch], *, step: Sequence[Mapping[str, Batch]], done: int = 0, place: int = 0
    ) -> None:
        super().__init__(batches)
        self.step, self.done, self.place = step, done, place

    @property
    def on_host(self) -> Mapping[str, Batch]:
        """The same batches where no device has to be waited for."""
        return self.step[self.place]

    def to(self, device: torch.device, **options: Any) -> "MicroBatch":
        """The micro-batch on a device; what it knows of the step stays on the host."""
        moved = {name: batch.to(device, **options) for name, batch in self.items()}
        return MicroBatch(moved, step=self.step, done=self.done, place=self.place)


def asked(pieces: Sequence[Tokens]) -> int:
    """How many tokens of a conversation stand before the assistant's first word, all where it says none: what the rule
    `Prefix` lets everybody read. 0 where the template does not tell whose words they are.

    Args:
        pieces: of one sample, of which the text has the feature `written`.

    Example:
        >>> words = Tokens(values=torch.tensor([7, 9, 3]), positions=torch.zeros(3, 1), modality="text")
        >>> asked([replace(words, features={WRITTEN: torch.tensor([False, False, True])})])
        2
    """
    if not any(WRITTEN in piece.features for piece in pieces):
        return 0
    masks = [piece.features.get(WRITTEN, torch.zeros(len(piece), dtype=torch.bool)) for piece in pieces]
    written = torch.cat(masks)
    return int(written.int().argmax()) if bool(written.any()) else len(written)


def collate(samples: Sequence[Sample]) -> Batch:
    """Packs samples into a `Batch`.

    Raises:
        ValueError: there is no sample, samples differ in the names or shapes of their targets, or only some have an
            answer; names the sample.

    Example:
        >>> import torch
        >>> word = Tokens(values=torch.tensor([7, 9]), positions=torch.zeros(2, 1), modality="text")
        >>> batch = collate([Sample(id="a", pieces=[word]), Sample(id="b", pieces=[word, word])])
        >>> batch.lengths.tolist(), batch.places["text"].tolist()
        ([2, 4], [0, 1, 2, 3, 4, 5])
    """
    if not samples:
        raise ValueError("collate() received no samples")
    by_modality: dict[str, list[Tokens]] = {}
    places: dict[str, list[tuple[int, int]]] = {}  # stretches from one place to before another
    counts: dict[str, list[int]] = {}
    start = 0
    for i, sample in enumerate(samples):
        for piece in sample.pieces:
            by_modality.setdefault(piece.modality, []).append(piece)
            stretches, end = places.setdefault(piece.modality, []), start + len(piece)
            first = stretches.pop()[0] if stretches and stretches[-1][1] == start else start
            stretches.append((first, end))
            counts.setdefault(piece.modality, [0] * len(samples))[i] += len(piece)
            start = end
    return Batch(
        parts={modality: pack(pieces) for modality, pieces in by_modality.items()},
        places={modality: torch.cat([torch.arange(*each) for each in chunks]) for modality, chunks in places.items()},
        lengths=torch.tensor([len(sample) for sample in samples]),
        counts={modality: torch.tensor(rows) for modality, rows in counts.items()},
        targets={name: torch.stack(rows) for name, rows in _aligned(samples, "targets").items()},
        token_targets={name: torch.cat(rows) for name, rows in _aligned(samples, "token_targets").items()},
        ids=tuple(sample.id for sample in samples),
        prefix=torch.tensor([sample.prefix for sample in samples]),
        answer=_answers(samples),
    )


def _answers(samples: Sequence[Sample]) -> Batch | None:
    """The answers as a batch, where every sample has one."""
    answered = [bool(sample.answer) for sample in samples]
    if not any(answered):
        return None
    if not all(answered):
        with_one, without = samples[answered.index(True)], samples[answered.index(False)]
        raise ValueError(
            f"sample {without.id!r} has no answer, sample {with_one.id!r} has one; samples of one batch need the same"
        )
    return collate([Sample(id=sample.id, pieces=sample.answer) for sample in samples])


def _aligned(samples: Sequence[Sample], which: str) -> dict[str, list[Tensor]]:
    """The targets of all samples by name, once it is sure that every sample has the same ones."""
    first: Mapping[str, Tensor] = getattr(samples[0], which)
    for sample in samples:
        targets: Mapping[str, Tensor] = getattr(sample, which)
        if targets.keys() != first.keys():
            raise ValueError(
                f"sample {sample.id!r} has {which} {sorted(targets)}, sample {samples[0].id!r} has {sorted(first)}; "
                "samples of one batch need the same"
            )
        for name, target in targets.items():
            if which == "targets" and target.shape != first[name].shape:
                raise ValueError(
                    f"sample {sample.id!r}: target {name!r} has shape {list(target.shape)}, "
                    f"sample {samples[0].id!r} has {list(first[name].shape)}"
                )
    return {name: [getattr(sample, which)[name] for sample in samples] for name in first}
