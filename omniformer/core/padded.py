"""The rows of a padded batch as a layout: fixed shapes and nothing read back, so that a tracer can follow a core.

Kernels for packed tokens are chosen by the lengths at hand. A program that serves any batch cannot choose: here every
place of a padded rectangle counts as a token, and padding is masked inside attention.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from omniformer.core.layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaddedLayout(Layout):
    """A padded batch, row after row with its padding, which `valid` tells from tokens on whichever side it is.

    A core reads it in the place of a packed layout: rules, biases and positions see the places and coordinates that
    they would see there. What a core says of padding means nothing. Unlike `Layout` it checks nothing, for to check
    would mean to read.

    Args:
        valid: which places hold a token.
        places: the place of each token in its sample, where earlier ones wait in a cache; counted by default.
        others: as for `Layout`, with a row for each place; no prefix by default.

    Shapes:
        valid bool `[samples, seq]`; places `[samples * seq]`, like all that `Layout` has for each token; lengths int64
        `[samples]`, tokens without padding, on the device of `valid`.

    Example:
        >>> layout = PaddedLayout(valid=torch.tensor([[True, True, False], [False, True, True]]))
        >>> layout.lengths.tolist(), layout.n_tokens, layout.index.tolist()
        ([2, 2], 6, [0, 1, 1, 0, 0, 1])
    """

    kernel: ClassVar[str] = "padded"

    valid: Tensor
    lengths: Tensor = field(init=False)

    def __post_init__(self) -> None:
        n_samples, seq = self.valid.shape
        device = self.valid.device
        row, lengths = torch.arange(n_samples, device=device), self.valid.sum(1)
        made = {
            "lengths": lengths,
            "sample": row[:, None].expand(n_samples, seq).flatten(),
            "index": counted(self.valid).flatten() if self.places is None else self.places,
            "offsets": torch.arange(n_samples + 1, device=device) * seq,
            "prefix": torch.zeros_like(lengths) if self.prefix is None else self.prefix,
            "device": device,
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def admit(self, core: nn.Module) -> None:
        """Refuses a core that cannot read padded rows; see `admit`."""
        admit(core)

    def pad(self, packed: Tensor, value: float = 0.0) -> Tensor:
        """Rows of all places as a padded tensor, with one value wherever there is padding.

        Shapes:
            `[samples * seq, ...]` → `[samples, seq, ...]`.
        """
        padding = ~self.valid.view(*self.valid.shape, *[1] * (packed.ndim - 1))
        return self.rows(packed).masked_fill(padding, value)

    def rows(self, packed: Tensor) -> Tensor:
        """One row a sample, of facts of all places or their vectors.

        Shapes:
            `[samples * seq, ...]` → `[samples, seq, ...]`.
        """
        return packed.unflatten(0, self.valid.shape)

    def last(self, n: int) -> "PaddedLayout":
        """The layout of the last columns, whose tokens keep their places and coordinates.

        Example:
            >>> PaddedLayout(valid=torch.tensor([[True, True, True]])).last(2).index.tolist()
            [1, 2]
        """
        seq = self.valid.shape[1]

        def columns(fact: Tensor | None) -> Tensor | None:
            return None if fact is None else self.rows(fact).narrow(1, seq - n, n).flatten(0, 1)

        return PaddedLayout(
            valid=self.valid.narrow(1, seq - n, n),
            places=columns(self.index),
            positions=columns(self.positions),
            modality=columns(self.modality),
            prefix=self.prefix,
        )

    def packed(self, x: Tensor) -> tuple[Tensor, Layout]:
        """Rows of all places in packed order, as heads read them, with all padding behind them as one more sample.

        Shapes:
            x `[samples * seq, d_model]` → the same in another order, and a layout of `samples + 1` samples.

        Example:
            >>> layout = PaddedLayout(valid=torch.tensor([[False, True], [True, True]]))
            >>> packed, layout = layout.packed(torch.arange(4.0)[:, None])
            >>> packed.flatten().tolist(), layout.lengths.tolist()
            ([1.0, 2.0, 3.0, 0.0], [1, 2, 1])
        """
        valid = self.valid.flatten()
        padding = ~valid
        place = torch.where(valid, valid.long().cumsum(0) - 1, valid.sum() + padding.long().cumsum(0) - 1)
        token = torch.zeros_like(place).scatter(0, place, torch.arange(self.n_tokens, device=place.device))
        lengths = torch.cat([self.lengths, padding.sum()[None]])
        layout = _Packed(
            lengths=lengths,
            sample=torch.where(valid, self.sample, self.n_samples)[token],
            index=self.index[token],
            offsets=torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]),
            positions=None if self.positions is None else self.positions[token],
            modality=None if self.modality is None else self.modality[token],
            device=self.device,
        )
        return x[token], layout


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Packed(Layout):
    """A packed layout all of whose facts are there already."""

    offsets: Tensor
    sample: Tensor
    index: Tensor

    def __post_init__(self) -> None:
        """Nothing to make or to check."""


def beside(parts: Sequence[tuple[Tensor, PaddedLayout]]) -> tuple[Tensor, PaddedLayout]:
    """Tokens of the same samples, one part after the other in every row; places are counted anew.

    Args:
        parts: vectors and layout of each, all with positions, of any number of axes, and modality.

    Example:
        >>> valid = torch.tensor([[True]])
        >>> layout = PaddedLayout(valid=valid, positions=torch.zeros(1, 1), modality=torch.zeros(1))
        >>> x, layout = beside([(torch.ones(1, 2), layout), (torch.zeros(1, 2), layout)])
        >>> x.tolist(), layout.valid.shape, layout.index.tolist()
        ([[1.0, 1.0], [0.0, 0.0]], torch.Size([1, 2]), [0, 1])
    """

    def joined(facts: Iterable[Any]) -> Tensor:
        rows = [layout.rows(fact) for fact, (_, layout) in zip(facts, parts, strict=True)]
        return torch.cat(rows, dim=1).flatten(0, 1)

    positions: list[Any] = [layout.positions for _, layout in parts]
    axes = max(each.shape[1] for each in positions)
    layout = PaddedLayout(
        valid=torch.cat([layout.valid for _, layout in parts], dim=1),
        positions=joined(functional.pad(each, (0, axes - each.shape[1])) for each in positions),
        modality=joined(layout.modality for _, layout in parts),
    )
    return joined(x for x, _ in parts), layout


def counted(valid: Tensor) -> Tensor:
    """The place of each token in its sample, counted over tokens alone; padding stands where the token before it does.

    Shapes:
        valid bool `[samples, seq]` → int64 `[samples, seq]`.

    Example:
        >>> counted(torch.tensor([[False, True, True, False]])).tolist()
        [[0, 0, 1, 1]]
    """
    return (valid.long().cumsum(1) - 1).clamp(min=0)


def admit(core: nn.Module) -> None:
    """Refuses a core that cannot read padded rows: one that does not say `reads_padded`, or has a part that cannot.

    Raises:
        ValueError: names the core or the part and says why.
    """
    if not getattr(core, "reads_padded", False):
        raise ValueError(
            f"core {type(core).__name__} cannot be exported: only a Transformer, Towers or a pair of Transformers "
            "reads padded rows; train one with core=tiny, or predict with omniformer.load"
        )
    refuse(core)


def refuse(module: nn.Module) -> None:
    """Raises for a module that has a part which cannot read padded rows: one that says so in `not_exported`.

    Raises:
        ValueError: names the part and says why.
    """
    for part in module.modules():
        if (why := getattr(part, "not_exported", None)) is not None:
            raise ValueError(f"{type(part).__name__} cannot be exported: {why}")
