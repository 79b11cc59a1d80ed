"""Tokens of one sample, and the packed form of many: end to end, never padded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Self

import torch
from torch import Tensor


class Movable:
    """Gives a frozen dataclass of tensors the `.to(...)` and `.pin_memory()` that Lightning expects of a batch."""

    __slots__ = ()

    # Small tensors that only the host reads: they steer Python, so a copy on the device would cost a wait each step.
    _host_only: tuple[str, ...] = ()

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The same object with its tensors on `device`."""
        return self._moved(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The same object in page-locked memory, from which copies to a GPU need not wait."""
        return self._moved(lambda tensor: tensor.pin_memory())

    def _moved(self, move: Callable[[Tensor], Tensor]) -> Self:
        names = [f.name for f in fields(self) if f.name not in self._host_only]  # pyright: ignore[reportArgumentType]
        return replace(self, **{name: _apply(getattr(self, name), move) for name in names})  # pyright: ignore[reportCallIssue,reportArgumentType]


def _apply(value: object, move: Callable[[Tensor], Tensor]) -> object:
    if isinstance(value, Tensor):
        return move(value)
    if isinstance(value, Movable):
        return value._moved(move)
    if isinstance(value, Mapping):
        return {name: _apply(item, move) for name, item in value.items()}
    return value


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tokens(Movable):
    """One sample of one modality as tokens: what each token is, where it lies, and which tokens are joined.

    Args:
        values: what the tokens are: ids, or one feature vector each.
        positions: where they lie, in the units the tokenizer states: one axis for text (index), two for images (row,
            column) and spectrograms (time, band), three for video (time, row, column), none for graphs.
        edges: directed edges from `edges[0]` (source) to `edges[1]` (target), as indices of this sample's tokens.
        edge_features: what the edges are: categories or feature vectors, in the order of `edges`.
        features: further named features of each token, for example Laplacian eigenvectors.
        pairs: named values for each pair of tokens, for example shortest-path distances: the row is the token that
            attends, the column the one it attends to.
        facts: named tensors that belong to the sample as a whole, for example the size of the original image.
        modality: the name under which a model finds the embedder for these tokens.

    Shapes:
        values int64 `[tokens]` or float32 `[tokens, features]` (a graph's categorical node features: int64
        `[tokens, fields]`); positions float32 `[tokens, axes]`; edges int64 `[2, edges]`; edge_features `[edges, ...]`;
        each of features `[tokens, ...]`, of pairs `[tokens, tokens, ...]`.

    Raises:
        ValueError: lengths of the fields disagree, an edge points at a token that is not there, or edge_features come
            without edges.

    Example:
        >>> import torch
        >>> word = Tokens(values=torch.tensor([7, 9]), positions=torch.tensor([[0.0], [1.0]]), modality="text")
        >>> len(word)
        2
    """

    values: Tensor
    positions: Tensor
    edges: Tensor | None = None
    edge_features: Tensor | None = None
    features: Mapping[str, Tensor] = field(default_factory=dict)
    pairs: Mapping[str, Tensor] = field(default_factory=dict)
    facts: Mapping[str, Tensor] = field(default_factory=dict)
    modality: str

    def __post_init__(self) -> None:
        n = len(self.values)
        if self.positions.ndim != 2 or len(self.positions) != n:
            raise ValueError(
                f"{self.modality}: positions have shape {list(self.positions.shape)}; expected [{n}, axes], one row "
                f"for each of the {n} values"
            )
        for name, feature in self.features.items():
            if len(feature) != n:
                raise ValueError(f"{self.modality}: feature {name!r} has {len(feature)} rows for {n} tokens")
        for name, pair in self.pairs.items():
            if pair.shape[:2] != (n, n):
                raise ValueError(
                    f"{self.modality}: pairs {name!r} have shape {list(pair.shape)} for {n} tokens; expected [{n}, {n}]"
                )
        if self.edges is None:
            if self.edge_features is not None:
                raise ValueError(f"{self.modality}: edge_features given without edges")
            return
        if self.edges.ndim != 2 or len(self.edges) != 2:
            raise ValueError(f"{self.modality}: edges have shape {list(self.edges.shape)}; expected [2, edges]")
        # Only on the host: elsewhere looking at the numbers would mean waiting for the device.
        if self.edges.is_cpu and self.edges.numel() and not 0 <= int(self.edges.min()) <= int(self.edges.max()) < n:
            raise ValueError(
                f"{self.modality}: edges point at tokens {int(self.edges.min())}..{int(self.edges.max())}; "
                f"the sample has tokens 0..{n - 1}"
            )
        if self.edge_features is not None and len(self.edge_features) != self.edges.shape[1]:
            raise ValueError(
                f"{self.modality}: {len(self.edge_features)} edge_features for {self.edges.shape[1]} edges"
            )

    def __len__(self) -> int:
        return self.values.shape[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packed(Movable):
    """Many samples of one modality, their tokens end to end: the convention of PyTorch Geometric, for every modality.

    `pack` makes it and `unpack` takes it apart again, exactly. The fields are those of `Tokens`, with `edges` counted
    over the whole pack, each of `pairs` as the square matrices of all samples one after the other, flat, and `facts`
    stacked over samples, plus the lengths that say where a sample ends.

    Shapes:
        lengths int64 `[samples]` tokens of each sample; edge_lengths int64 `[samples]` edges of each sample. Both stay
        on the host when the rest moves to a device. Each of pairs `[sum of squared lengths, ...]`.

    Example:
        >>> import torch
        >>> word = Tokens(values=torch.tensor([7, 9]), positions=torch.zeros(2, 1), modality="text")
        >>> pack([word, word]).lengths
        tensor([2, 2])
    """

    values: Tensor
    positions: Tensor
    edges: Tensor | None = None
    edge_features: Tensor | None = None
    features: Mapping[str, Tensor] = field(default_factory=dict)
    pairs: Mapping[str, Tensor] = field(default_factory=dict)
    facts: Mapping[str, Tensor] = field(default_factory=dict)
    modality: str
    lengths: Tensor
    edge_lengths: Tensor | None = None

    _host_only = ("lengths", "edge_lengths")

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.lengths)


def pack(samples: Sequence[Tokens]) -> Packed:
    """Lays the tokens of many samples end to end; the exact inverse of `unpack`.

    Empty samples are legal and cost nothing; samples on different devices, or of different modality, dtype or feature
    width, are not.

    Raises:
        ValueError: there is no sample, or sample i differs from sample 0 in modality, dtype, width or in which fields
            it has.

    Example:
        >>> import torch
        >>> a = Tokens(values=torch.tensor([7, 9]), positions=torch.zeros(2, 1), modality="text")
        >>> [sample.values.tolist() for sample in unpack(pack([a, a]))]
        [[7, 9], [7, 9]]
    """
    if not samples:
        raise ValueError("pack() received no samples; pass at least one (a sample may have zero tokens)")
    first = _signature(samples[0])
    for i, sample in enumerate(samples[1:], start=1):
        if (signature := _signature(sample)) != first:
            wrong = [key for key in first | signature if first.get(key) != signature.get(key)]
            raise ValueError(
                "cannot pack: "
                + "; ".join(
                    f"{key} is {_worded(signature.get(key))} in sample {i} but {_worded(first.get(key))} in sample 0"
                    for key in wrong
                )
            )
    lengths = torch.tensor([len(sample) for sample in samples])
    starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    edges = edge_lengths = edge_features = None
    if samples[0].edges is not None:
        present = [sample.edges for sample in samples if sample.edges is not None]
        if len(present) == 1:
            edges = present[0]  # the very tensor, by which what was computed for a graph is found again
        else:
            edges = torch.cat([edge + start for edge, start in zip(present, starts.tolist(), strict=False)], dim=1)
        edge_lengths = torch.tensor([edge.shape[1] for edge in present])
    if samples[0].edge_features is not None:
        edge_features = torch.cat([sample.edge_features for sample in samples if sample.edge_features is not None])
    return Packed(
        values=torch.cat([sample.values for sample in samples]),
        positions=torch.cat([sample.positions for sample in samples]),
        edges=edges,
        edge_features=edge_features,
        features={name: torch.cat([sample.features[name] for sample in samples]) for name in samples[0].features},
        pairs={name: torch.cat([sample.pairs[name].flatten(0, 1) for sample in samples]) for name in samples[0].pairs},
        facts={name: torch.stack([sample.facts[name] for sample in samples]) for name in samples[0].facts},
        modality=samples[0].modality,
        lengths=lengths,
        edge_lengths=edge_lengths,
    )


def framed(tokens: Tokens, *, start: int | Sequence[int] | None = None, stop: int | None = None) -> Tokens:
    """Tokens of ids with first ones and a last one around them: what a model that writes them begins and ends with.

    Coordinates on one axis are counted anew from 0; on several, the new tokens lie where their neighbours do.

    Args:
        tokens: ids, without edges, features or pairs.
        start: goes in front, one id or several; None for nothing.
        stop: goes behind; None for nothing.

    Raises:
        ValueError: the tokens are not ids, or have edges, features or pairs.

    Example:
        >>> import torch
        >>> word = Tokens(values=torch.tensor([7, 9]), positions=torch.tensor([[0.0], [1.0]]), modality="text")
        >>> framed(word, start=0, stop=0).values.tolist()
        [0, 7, 9, 0]
    """
    first = [start] if isinstance(start, int) else list(start or ())
    if not first and stop is None:
        return tokens
    if tokens.values.ndim != 1 or tokens.edges is not None or tokens.features or tokens.pairs:
        raise ValueError(f"{tokens.modality}: only plain ids can be framed; received {tokens.values.dtype} values")
    ids = tokens.values
    front = ids.new_tensor(first)
    back = ids.new_tensor([] if stop is None else [stop])
    values = torch.cat([front, ids, back])
    if tokens.positions.shape[1] == 1:
        positions = torch.arange(len(values), dtype=torch.float32, device=ids.device)[:, None]
    else:
        place = (torch.arange(len(values), device=ids.device) - len(front)).clamp(0, max(len(ids) - 1, 0))
        old = tokens.positions if len(ids) else tokens.positions.new_zeros(1, tokens.positions.shape[1])
        positions = old[place]
    return replace(tokens, values=values, positions=positions)


def unpack(packed: Packed) -> list[Tokens]:
    """The samples of a pack, as they went in; the exact inverse of `pack`."""
    lengths = packed.lengths.tolist()
    values, positions = packed.values.split(lengths), packed.positions.split(lengths)
    features = {name: feature.split(lengths) for name, feature in packed.features.items()}
    pairs = {name: pair.split([n * n for n in lengths]) for name, pair in packed.pairs.items()}
    edges: Sequence[Tensor | None] = [None] * len(lengths)
    edge_features: Sequence[Tensor | None] = [None] * len(lengths)
    if packed.edges is not None and packed.edge_lengths is not None:
        starts = (packed.lengths.cumsum(0) - packed.lengths).tolist()
        edge_lengths = packed.edge_lengths.tolist()
        edges = [edge - start for edge, start in zip(packed.edges.split(edge_lengths, dim=1), starts, strict=True)]
        if packed.edge_features is not None:
            edge_features = packed.edge_features.split(edge_lengths)
    return [
        Tokens(
            values=values[i],
            positions=positions[i],
            edges=edges[i],
            edge_features=edge_features[i],
            features={name: feature[i] for name, feature in features.items()},
            pairs={name: pair[i].unflatten(0, (n, n)) for name, pair in pairs.items()},
            facts={name: fact[i] for name, fact in packed.facts.items()},
            modality=packed.modality,
        )
        for i, n in enumerate(lengths)
    ]


def _signature(sample: Tokens) -> dict[str, object]:
    """What must agree for two samples to lie in one pack, by name."""
    signature: dict[str, object] = {"modality": sample.modality}
    tensors = {"values": sample.values, "positions": sample.positions, "edge_features": sample.edge_features}
    tensors |= {f"features[{name!r}]": feature for name, feature in sample.features.items()}
    for name, pair in sample.pairs.items():
        signature[f"pairs[{name!r}]"] = (pair.dtype, pair.shape[2:])
    for name, tensor in tensors.items():
        signature[name] = None if tensor is None else (tensor.dtype, tensor.shape[1:])
    signature["edges"] = "present" if sample.edges is not None else "absent"
    for name, fact in sample.facts.items():
        signature[f"facts[{name!r}]"] = (fact.dtype, fact.shape)
    return signature


def _worded(part: object) -> str:
    if not isinstance(part, tuple):
        return str(part)
    dtype, shape = part
    return f"{str(dtype).removeprefix('torch.')} {list(shape)} a row"
