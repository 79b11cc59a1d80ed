"""What travels from the data to the model: one sample, and many samples as one batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from omniformer_tokenizers import Movable, Packed, Tokens, pack
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """One training example: pieces of any modalities in the order in which the core reads them, and what to predict.

    Args:
        id: names the sample in error messages and keys its randomness; unique and stable within a data set.
        pieces: its tokens, piece by piece. A modality that is missing is a piece that is not there.
        targets: what to predict of the sample as a whole, by name.
        token_targets: what to predict of each token, by name; one row for each token of all pieces together.
        prefix: how many leading tokens the rule `Prefix` lets the whole sample read.

    Raises:
        ValueError: a token target has another number of rows than the pieces have tokens.
    """

    id: str
    pieces: Sequence[Tokens]
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
        """The number of tokens."""
        return sum(len(piece) for piece in self.pieces)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch(Movable):
    """Many samples, packed: each modality's tokens end to end, and where each of them stands in the joint sequence.

    A sample's sequence is its pieces one after the other; the batch's sequence is its samples one after the other. The
    tokens of one modality lie together in `parts`, so that one embedder call serves them all, and `places` interleaves
    the results. `Batch` is made by `collate`.

    Shapes:
        lengths int64 `[samples]`, on the host: tokens of each sample, all modalities together; `places[modality]` int64
        `[tokens of that modality]`; targets `[samples, ...]`; token_targets `[tokens, ...]`.
    """

    parts: Mapping[str, Packed]
    places: Mapping[str, Tensor]
    lengths: Tensor
    targets: Mapping[str, Tensor]
    token_targets: Mapping[str, Tensor]
    ids: tuple[str, ...]
    prefix: Tensor

    _host_only = ("lengths", "ids")

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.lengths)

    @property
    def n_tokens(self) -> int:
        """The number of tokens, all samples and modalities together."""
        return int(self.lengths.sum())


def collate(samples: Sequence[Sample]) -> Batch:
    """Packs samples into a `Batch`.

    Raises:
        ValueError: there is no sample, or samples differ in the names or shapes of their targets; names the sample.

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
    places: dict[str, list[Tensor]] = {}
    start = 0
    for sample in samples:
        for piece in sample.pieces:
            by_modality.setdefault(piece.modality, []).append(piece)
            places.setdefault(piece.modality, []).append(torch.arange(start, start + len(piece)))
            start += len(piece)
    return Batch(
        parts={modality: pack(pieces) for modality, pieces in by_modality.items()},
        places={modality: torch.cat(chunks) for modality, chunks in places.items()},
        lengths=torch.tensor([len(sample) for sample in samples]),
        targets={name: torch.stack(rows) for name, rows in _aligned(samples, "targets").items()},
        token_targets={name: torch.cat(rows) for name, rows in _aligned(samples, "token_targets").items()},
        ids=tuple(sample.id for sample in samples),
        prefix=torch.tensor([sample.prefix for sample in samples]),
    )


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
