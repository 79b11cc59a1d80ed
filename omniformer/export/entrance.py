"""How tokens of one modality come into an exported program: padded, with a mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from omniformer_tokenizers import Packed, Tokenizer, Tokens
from torch import Tensor, nn

from omniformer.embedders import ClassTokenEmbedder, IdEmbedder, Maskable, VectorEmbedder
from omniformer.export.padded import places
from omniformer.export.parts import VALID, PaddedStem, Places

CLASS_TOKEN = "class_token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A tensor that goes into an exported program, or comes out of it.

    Args:
        name: its name in the file.
        dtype: of its numbers.
        shape: a number for an axis of fixed size, a word for one of any size; the same word means the same size.
        meaning: what it holds, for whoever feeds it.
    """

    name: str
    dtype: Literal["int64", "float32"]
    shape: tuple[str | int, ...]
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entered:
    """Tokens of one modality, inside.

    Shapes:
        x `[batch, seq, d_model]`, valid bool `[batch, seq]`, positions `[batch, seq, axes]`.
    """

    x: Tensor
    valid: Tensor
    positions: Tensor


class Entrance(nn.Module):
    """The tensors in which tokens of one modality come in, and the embedder that reads them.

    Text comes under the names that serving programs give it, `input_ids` and `attention_mask`; its coordinates are
    counted from the mask, so that padding may stand on either side. Other modalities bring their coordinates along.
    Whatever stands in padding is not looked at.

    Args:
        modality: the name of the modality.
        embedder: reads it.
        axes: coordinates of a token.
        seq: names the axis of tokens.
        featured: whether the features of each token that the embedder reads come in too, such as its segment; else
            all are 0.

    Raises:
        ValueError: the embedder reads neither ids nor vectors.

    Example:
        >>> entrance = Entrance("text", IdEmbedder(d_model=4, vocab_size=10), axes=1)
        >>> [port.name for port in entrance.ports]
        ['input_ids', 'attention_mask']
        >>> entrance([torch.tensor([[3, 0]]), torch.tensor([[1, 0]])]).x.shape
        torch.Size([1, 2, 4])
    """

    def __init__(
        self, modality: str, embedder: nn.Module, *, axes: int, seq: str = "seq", featured: bool = True
    ) -> None:
        super().__init__()
        self.modality, self.embedder, self.axes = modality, embedder, axes
        inner = _inner(embedder)
        if not isinstance(inner, IdEmbedder | VectorEmbedder | PaddedStem):
            raise ValueError(
                f"the embedder of {modality!r} is a {type(inner).__name__}, which cannot be exported; what can come in "
                "are ids (IdEmbedder) and vectors (VectorEmbedder, ConvStem)"
            )
        self.inner: IdEmbedder | VectorEmbedder | PaddedStem = inner
        self.read = _features(embedder) if featured else {}
        self.counted = isinstance(inner, IdEmbedder) and axes == 1
        self.ports = self._ports(seq)

    def _ports(self, seq: str) -> tuple[Port, ...]:
        plain = self.modality == "text" and self.counted

        def port(name: str, known: str, meaning: str, dtype: Literal["int64", "float32"] = "int64", *rest: int) -> Port:
            name = known if plain else f"{self.modality}_{name}"
            return Port(name=name, dtype=dtype, shape=("batch", seq, *rest), meaning=meaning)

        meaning = "values of the tokens, as the tokenizer gives them"
        if isinstance(self.inner, IdEmbedder):
            values = port("ids", "input_ids", meaning)
        else:
            values = port("values", "", meaning, "float32", self.n_features)
        features = [
            port(name, "token_type_ids" if name == "segment" else name, f"feature {name!r} of the tokens, else 0")
            for name in self.read
        ]
        meaning = "positions of the tokens, as the tokenizer gives them"
        positions = [] if self.counted else [port("positions", "", meaning, "float32", self.axes)]
        return (values, *features, *positions, port("mask", "attention_mask", "1 for a token, 0 for padding"))

    @property
    def n_features(self) -> int:
        """Numbers of a token that is a vector."""
        assert not isinstance(self.inner, IdEmbedder)
        return self.inner.n_features if isinstance(self.inner, PaddedStem) else self.inner.map.in_features

    def fitting(self, n: int) -> int:
        """The number of tokens nearest to n that a sample may have: with its class tokens, and within its positions."""
        position = self.inner.position
        n = max(n, self.read.get(CLASS_TOKEN, 1)) if n else 0
        return min(n, position.sizes[0] - position.first) if self.counted and isinstance(position, Places) else n

    def forward(self, tensors: Sequence[Tensor]) -> Entered:
        """The vectors of padded tokens, for tensors in the order of `ports`."""
        return self.enter(tensors, tensors[-1].bool())

    def enter(self, tensors: Sequence[Tensor], valid: Tensor, index: Tensor | None = None) -> Entered:
        """The vectors of padded tokens.

        Args:
            tensors: in the order of `ports`; the mask, which is last, is not looked at.
            valid: which of them are tokens.
            index: their places in their samples; counted here by default.

        Shapes:
            valid bool and index int64 `[batch, seq]`.
        """
        values = tensors[0]
        row = valid if values.ndim == 2 else valid[..., None]
        values = torch.where(row, values, torch.zeros((), dtype=values.dtype))
        if self.counted:
            positions = (places(valid) if index is None else index)[..., None].float()
        else:
            positions = torch.where(valid[..., None], tensors[-2], 0.0)
        features = {name: torch.where(valid, tensors[i], 0).flatten() for i, name in enumerate(self.read, start=1)}
        packed = Packed(
            values=values.flatten(0, 1),
            positions=positions.flatten(0, 1),
            features=features,
            facts={VALID: valid},
            modality=self.modality,
            lengths=valid.sum(1),
        )
        x = self.embedder(packed)
        return Entered(x=x.unflatten(0, valid.shape), valid=valid, positions=positions)

    def fed(self, pieces: Sequence[Tokens | None], *, left: bool = False) -> list[Tensor]:
        """The tensors of pieces, one piece or none for each row, in the order of `ports`.

        Args:
            pieces: from a tokenizer.
            left: whether padding stands on the left.
        """
        longest = max((len(piece) for piece in pieces if piece is not None), default=0)
        tensors = []
        for port in self.ports:
            dtype = torch.int64 if port.dtype == "int64" else torch.float32
            rows = torch.zeros(len(pieces), longest, *port.shape[2:], dtype=dtype)  # pyright: ignore[reportArgumentType]
            for row, piece in zip(rows, pieces, strict=True):
                if piece is not None and len(piece):
                    row[-len(piece) if left else 0 : None if left else len(piece)] = self._of(piece, port)
            tensors.append(rows)
        return tensors

    def _of(self, piece: Tokens, port: Port) -> Tensor:
        i = self.ports.index(port)
        if i == 0:
            return piece.values
        if i <= len(self.read):
            return piece.features.get(list(self.read)[i - 1], torch.zeros(len(piece), dtype=torch.int64))
        return torch.ones(len(piece), dtype=torch.int64) if port is self.ports[-1] else piece.positions

    def drawn(self, n: int, generator: torch.Generator) -> Tokens:
        """Random tokens of this modality, to try a program with."""
        if isinstance(self.inner, IdEmbedder):
            values = torch.randint(self.inner.table.num_embeddings, (n,), generator=generator)
        else:
            values = torch.randn(n, self.n_features, generator=generator)
        features = {}
        for name, most in self.read.items():
            if name == CLASS_TOKEN:  # they come first
                features[name] = torch.arange(1, n + 1) * (torch.arange(n) < most)
            else:
                features[name] = torch.randint(most, (n,), generator=generator)
        positions = self._drawn_positions(n, generator)
        return Tokens(values=values, positions=positions, features=features, modality=self.modality)

    def _drawn_positions(self, n: int, generator: torch.Generator) -> Tensor:
        if self.counted:
            return torch.arange(n, dtype=torch.float32)[:, None]
        position = self.inner.position
        if not isinstance(position, Places):
            return torch.randint(8, (n, self.axes), generator=generator).float()
        if position.coordinates == "unit":
            return torch.rand(n, self.axes, generator=generator)
        sizes = torch.tensor(position.sizes) - position.first
        return (torch.rand(n, self.axes, generator=generator) * sizes).floor()


def axes_of(embedder: nn.Module, tokenizer: Tokenizer | None) -> int:
    """On how many axes tokens of an embedder lie: what their positions say, else their tokenizer, else one."""
    position = getattr(_inner(embedder), "position", None)
    if position is not None:
        return position.n_axes
    return int(tokenizer.facts.get("axes", 1)) if tokenizer is not None else 1


def _inner(embedder: nn.Module) -> nn.Module:
    """The embedder of values, inside those that add something of their own."""
    return _inner(embedder.embedder) if isinstance(embedder, Maskable | ClassTokenEmbedder) else embedder


def _features(embedder: nn.Module) -> dict[str, int]:
    """The features of tokens that an embedder reads, with how many numbers each may have or, of class tokens, how many
    there are.
    """
    if isinstance(embedder, ClassTokenEmbedder):
        return {CLASS_TOKEN: len(embedder.vectors), **_features(embedder.embedder)}
    if isinstance(embedder, Maskable):
        return _features(embedder.embedder)
    segments = getattr(embedder, "segments", None)
    return {} if segments is None else {"segment": segments.num_embeddings}
