"""How tokens of one modality come into an exported program: padded, with a mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from omniformer_tokenizers import Packed, Tokenizer, Tokens
from torch import Tensor, nn

from omniformer.embedders import IdEmbedder, Maskable, VectorEmbedder
from omniformer.export.padded import places
from omniformer.export.parts import Places


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
        segmented: whether the segment of each token comes in too, where the embedder tells segments apart; else all
            are of the first.

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
        self, modality: str, embedder: nn.Module, *, axes: int, seq: str = "seq", segmented: bool = True
    ) -> None:
        super().__init__()
        self.modality, self.embedder, self.axes = modality, embedder, axes
        inner = embedder.embedder if isinstance(embedder, Maskable) else embedder
        if not isinstance(inner, IdEmbedder | VectorEmbedder):
            raise ValueError(
                f"the embedder of {modality!r} is a {type(inner).__name__}, which cannot be exported; what can come in "
                "are ids (IdEmbedder) and vectors (VectorEmbedder)"
            )
        self.inner: IdEmbedder | VectorEmbedder = inner
        self.segments = inner.segments if segmented and isinstance(inner, IdEmbedder) else None
        self.counted = isinstance(inner, IdEmbedder) and axes == 1
        self.ports = self._ports(seq)

    def _ports(self, seq: str) -> tuple[Port, ...]:
        ids = isinstance(self.inner, IdEmbedder)
        plain = self.modality == "text" and self.counted
        ports = [
            Port(
                name="input_ids" if plain else f"{self.modality}_ids" if ids else f"{self.modality}_values",
                dtype="int64" if ids else "float32",
                shape=("batch", seq) if ids else ("batch", seq, self.features),
                meaning="values of the tokens, as the tokenizer gives them",
            )
        ]
        if self.segments is not None:
            name = "token_type_ids" if plain else f"{self.modality}_segments"
            ports.append(
                Port(name=name, dtype="int64", shape=("batch", seq), meaning="segment of each token, 0 for the first")
            )
        if not self.counted:
            ports.append(
                Port(
                    name=f"{self.modality}_positions",
                    dtype="float32",
                    shape=("batch", seq, self.axes),
                    meaning="positions of the tokens, as the tokenizer gives them",
                )
            )
        ports.append(
            Port(
                name="attention_mask" if plain else f"{self.modality}_mask",
                dtype="int64",
                shape=("batch", seq),
                meaning="1 for a token, 0 for padding",
            )
        )
        return tuple(ports)

    @property
    def features(self) -> int:
        """Numbers of a token that is a vector."""
        assert isinstance(self.inner, VectorEmbedder)
        return self.inner.map.in_features

    @property
    def limit(self) -> int | None:
        """How many tokens a sample may have; None for any number."""
        position = self.inner.position
        if not self.counted or not isinstance(position, Places):
            return None
        return position.sizes[0] - position.first

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
        features = {"segment": torch.where(valid, tensors[1], 0).flatten()} if self.segments is not None else {}
        packed = Packed(
            values=values.flatten(0, 1),
            positions=positions.flatten(0, 1),
            features=features,
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
        if port is self.ports[0]:
            return piece.values
        if port is self.ports[-1]:
            return torch.ones(len(piece), dtype=torch.int64)
        if port.name.endswith("positions"):
            return piece.positions
        return piece.features.get("segment", torch.zeros(len(piece), dtype=torch.int64))

    def drawn(self, n: int, generator: torch.Generator) -> Tokens:
        """Random tokens of this modality, to try a program with."""
        features = {}
        if isinstance(self.inner, IdEmbedder):
            values = torch.randint(self.inner.table.num_embeddings, (n,), generator=generator)
            if self.segments is not None:
                kinds = self.segments.num_embeddings
                features = {"segment": torch.randint(kinds, (n,), generator=generator)}
        else:
            values = torch.randn(n, self.features, generator=generator)
        return Tokens(values=values, positions=self._drawn_positions(n, generator), features=features,
                      modality=self.modality)  # fmt: skip

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
    inner = embedder.embedder if isinstance(embedder, Maskable) else embedder
    position = getattr(inner, "position", None)
    if position is not None:
        return position.n_axes
    return int(tokenizer.facts.get("axes", 1)) if tokenizer is not None else 1
