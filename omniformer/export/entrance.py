"""How tokens of one modality come into an exported program: padded, with a mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from omniformer_tokenizers import Packed, Tokenizer, Tokens
from torch import Tensor, nn

from omniformer.core.padded import PaddedLayout, counted
from omniformer.embedders.reads import Reads
from omniformer.embedders.stem import VALID

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
    dtype: Literal["int64", "float32", "uint8"]
    shape: tuple[str | int, ...]
    meaning: str


class Entrance(nn.Module):
    """The tensors in which tokens of one modality come in, and the embedder that reads them.

    Text comes under the names that serving programs give it, `input_ids` and `attention_mask`; its coordinates are
    counted from the mask, so that padding may stand on either side. Other modalities bring their coordinates along.
    Whatever stands in padding is not looked at.

    Args:
        modality: the name of the modality.
        embedder: reads it.
        axes: coordinates of a token.
        number: of the modality, as rules and towers know it.
        seq: names the axis of tokens.
        featured: whether the features of each token that the embedder reads come in too, such as its segment; else
            all are 0.

    Raises:
        ValueError: the embedder does not say what it reads.

    Example:
        >>> from omniformer.embedders import IdEmbedder
        >>> entrance = Entrance("text", IdEmbedder(d_model=4, vocab_size=10), axes=1)
        >>> [port.name for port in entrance.ports]
        ['input_ids', 'attention_mask']
        >>> x, layout = entrance([torch.tensor([[3, 0]]), torch.tensor([[1, 0]])])
        >>> x.shape, layout.lengths
        (torch.Size([2, 4]), tensor([1]))
    """

    def __init__(
        self,
        modality: str,
        embedder: nn.Module,
        *,
        axes: int,
        number: int = 0,
        seq: str = "seq",
        featured: bool = True,
    ) -> None:
        super().__init__()
        self.modality, self.embedder, self.axes, self.number = modality, embedder, axes, number
        reads: Reads | None = getattr(embedder, "reads", None)
        if reads is None:
            raise ValueError(
                f"the embedder of {modality!r} is a {type(embedder).__name__}, which cannot be exported; what can come "
                "in are ids (IdEmbedder) and vectors (VectorEmbedder, ConvStem)"
            )
        self.reads, self.features = reads, dict(reads.features) if featured else {}
        self.counted = reads.ids is not None and axes == 1
        self.ports = self._ports(seq)

    def _ports(self, seq: str) -> tuple[Port, ...]:
        plain = self.modality == "text" and self.counted

        def port(name: str, known: str, meaning: str, dtype: Literal["int64", "float32"] = "int64", *rest: int) -> Port:
            name = known if plain else f"{self.modality}_{name}"
            return Port(name=name, dtype=dtype, shape=("batch", seq, *rest), meaning=meaning)

        meaning = "values of the tokens, as the tokenizer gives them"
        if self.reads.numbers is None:
            values = port("ids", "input_ids", meaning)
        else:
            values = port("values", "", meaning, "float32", self.reads.numbers)
        features = [
            port(
                *(name, "token_type_ids" if name == "segment" else name, f"feature {name!r} of the tokens, else 0"),
                *("int64", *self._width(name)),
            )
            for name in self.features
        ]
        meaning = "positions of the tokens, as the tokenizer gives them"
        positions = [] if self.counted else [port("positions", "", meaning, "float32", self.axes)]
        return (values, *features, *positions, port("mask", "attention_mask", "1 for a token, 0 for padding"))

    def fitting(self, n: int) -> int:
        """The number of tokens nearest to n that a sample may have: with its class tokens, and within its positions."""
        n = max(n, self.features.get(CLASS_TOKEN, 1)) if n else 0
        most = self.reads.max_tokens
        return min(n, most) if (self.counted or self.reads.grid) and most is not None else n

    def forward(self, tensors: Sequence[Tensor]) -> tuple[Tensor, PaddedLayout]:
        """The vectors of padded tokens and their layout, for tensors in the order of `ports`.

        Shapes:
            `[batch * seq, d_model]`.
        """
        layout = self.layout(tensors[-1].bool(), None if self.counted else tensors[-2])
        return self.embed(tensors, layout), layout

    def layout(self, valid: Tensor, positions: Tensor | None = None) -> PaddedLayout:
        """Padded tokens of this modality.

        Args:
            valid: which of them are tokens.
            positions: their coordinates, where they are not counted.

        Shapes:
            valid bool `[batch, seq]`, positions `[batch, seq, axes]`.
        """
        places = counted(valid)
        positions = places[..., None].float() if positions is None else torch.where(valid[..., None], positions, 0.0)
        modality = torch.full_like(places, self.number).flatten()
        layout = PaddedLayout(
            valid=valid, places=places.flatten(), positions=positions.flatten(0, 1), modality=modality
        )
        layout.memo("modalities", lambda: (self.number, self.number))  # known, so that towers need not read them
        return layout

    def embed(self, tensors: Sequence[Tensor], layout: PaddedLayout) -> Tensor:
        """The vectors of padded tokens, for tensors in the order of `ports`, of which values and features are read."""
        valid, values = layout.valid, tensors[0]
        row = valid if values.ndim == 2 else valid[..., None]
        features = {
            name: torch.where(valid[..., None] if self._width(name) else valid, tensors[i], 0).flatten(0, 1)
            for i, name in enumerate(self.features, start=1)
        }
        packed = Packed(
            values=torch.where(row, values, torch.zeros((), dtype=values.dtype)).flatten(0, 1),
            positions=layout.positions,  # pyright: ignore[reportArgumentType]
            features=features,
            facts={VALID: valid},
            modality=self.modality,
            lengths=layout.lengths,
        )
        return self.embedder(packed)

    def fed(self, pieces: Sequence[Tokens | None], *, left: bool = False) -> list[Tensor]:
        """The tensors of pieces, one piece or none for each row, in the order of `ports`.

        Args:
            pieces: from a tokenizer.
            left: whether padding stands on the left.
        """
        longest = max((len(piece) for piece in pieces if piece is not None), default=0)
        tensors = []
        for i, port in enumerate(self.ports):
            dtype = torch.int64 if port.dtype == "int64" else torch.float32
            rows = torch.zeros(len(pieces), longest, *port.shape[2:], dtype=dtype)  # pyright: ignore[reportArgumentType]
            for row, piece in zip(rows, pieces, strict=True):
                if piece is not None and len(piece):
                    row[-len(piece) if left else 0 : None if left else len(piece)] = self._of(piece, i)
            tensors.append(rows)
        return tensors

    def _of(self, piece: Tokens, i: int) -> Tensor:
        """What a piece feeds into port i."""
        if i == 0:
            return piece.values
        if i <= len(self.features):
            name = list(self.features)[i - 1]
            return piece.features.get(name, torch.zeros(len(piece), *self._width(name), dtype=torch.int64))
        return piece.positions if i < len(self.ports) - 1 else torch.ones(len(piece), dtype=torch.int64)

    def drawn(self, n: int, generator: torch.Generator) -> Tokens:
        """Random tokens of this modality, to try a program with."""
        if self.reads.ids is not None:
            values = torch.randint(self.reads.ids, (n,), generator=generator)
        else:
            values = torch.randn(n, self.ports[0].shape[2], generator=generator)  # pyright: ignore[reportArgumentType]
        features = {}
        for name, most in self.features.items():
            if name == CLASS_TOKEN:  # they come first
                features[name] = torch.arange(1, n + 1) * (torch.arange(n) < most)
            else:
                features[name] = torch.randint(most, (n, *self._width(name)), generator=generator)
        return Tokens(values=values, positions=self._places(n, generator), features=features, modality=self.modality)

    def _width(self, name: str) -> tuple[int, ...]:
        """How many numbers of a feature a token has, where it has several."""
        return (self.reads.widths[name],) if name in self.reads.widths else ()

    def _places(self, n: int, generator: torch.Generator) -> Tensor:
        if self.counted:
            return torch.arange(n, dtype=torch.float32)[:, None]
        if self.reads.grid is not None:
            rows, columns = (torch.arange(float(size)) for size in self.reads.grid)
            return torch.cartesian_prod(rows, columns)[:n]
        if self.reads.position is not None:
            return self.reads.position.drawn(n, generator)  # pyright: ignore[reportCallIssue]
        return torch.randint(8, (n, self.axes), generator=generator).float()


def axes_of(embedder: nn.Module, tokenizer: Tokenizer | None) -> int:
    """On how many axes tokens of an embedder lie: what their grid or positions say, else their tokenizer, else one."""
    reads: Reads | None = getattr(embedder, "reads", None)
    if reads is not None and reads.grid is not None:
        return len(reads.grid)
    if reads is not None and reads.position is not None:
        return reads.position.n_axes  # pyright: ignore[reportReturnType]
    return int(tokenizer.facts.get("axes", 1)) if tokenizer is not None else 1
