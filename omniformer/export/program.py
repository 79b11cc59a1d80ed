"""What is exported: models behind padded tensors, and how to tell that they say what the packed model says."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from omniformer_tokenizers import Tokenizer, Tokens
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core.attention.cross import CrossAttention
from omniformer.core.rules import Rule
from omniformer.export.entrance import Entered, Entrance, Port, axes_of
from omniformer.export.padded import PaddedLayout
from omniformer.export.parts import refuse, traceable
from omniformer.model import OmniFormer

T = TypeVar("T")
Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""A program at work: tensors in the order of its inputs, to tensors in the order of its outputs."""


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
    return attentions_of(model.writer, CrossAttention)


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
    return (mask, *state_ports("memory", crosses(model), length, "of what is given"))


def state_ports(name: str, attentions: Mapping[int, Any], length: str, whose: str) -> list[Port]:
    """The keys and values of some layers as tensors by name."""
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


def attentions_of(core: Any, kind: type[T]) -> dict[int, T]:
    """The attention of one kind of each layer that has one."""
    found = {i: [each for each in block.modules() if isinstance(each, kind)] for i, block in enumerate(core.blocks)}
    return {i: each[0] for i, each in found.items() if each}


def entrance_of(
    model: OmniFormer, modality: str, tokenizer: Tokenizer | None, seq: str, *, featured: bool = True
) -> Entrance:
    """The door for one modality.

    Raises:
        ValueError: the model has no embedder for it.
    """
    if modality not in model.embedders:
        raise ValueError(f"this model has no embedder for {modality!r}, only for {', '.join(model.embedders)}")
    embedder = model.embedders[modality]
    return Entrance(modality, embedder, axes=axes_of(embedder, tokenizer), seq=seq, featured=featured)


def joined(
    entered: Sequence[Entered], numbers: Sequence[int], index: Tensor | None = None
) -> tuple[Tensor, PaddedLayout]:
    """The tokens of all modalities, one after the other in every row."""
    valid = torch.cat([each.valid for each in entered], dim=1)
    axes = max(each.positions.shape[-1] for each in entered)
    positions = torch.cat([F.pad(each.positions, (0, axes - each.positions.shape[-1])) for each in entered], dim=1)
    modality = torch.cat(
        [filled(each.valid, n).view_as(each.valid) for each, n in zip(entered, numbers, strict=True)], 1
    )
    layout = PaddedLayout(valid, index=index, positions=positions.flatten(0, 1), modality=modality.flatten())
    return torch.cat([each.x for each in entered], dim=1).flatten(0, 1), layout


def filled(valid: Tensor, number: int) -> Tensor:
    """One number for each place.

    Shapes:
        valid `[batch, seq]` → int64 `[batch * seq]`.
    """
    return torch.full_like(valid, number, dtype=torch.int64).flatten()


def padded_rows(rows: Tensor, layout: PaddedLayout) -> Tensor:
    """Rows of all places as a padded tensor, zero in padding."""
    return rows.unflatten(0, layout.valid.shape) * layout.valid[..., None].to(rows.dtype)


def cut(piece: Tokens, n: int) -> Tokens:
    """The first tokens of a piece."""
    return Tokens(values=piece.values[:n], positions=piece.positions[:n], modality=piece.modality)
