"""What is exported: models behind padded tensors, and how to tell that they say what the packed model says."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from omniformer_tokenizers import Tokenizer, Tokens
from torch import Tensor, nn

from omniformer.core.attention.cross import CrossAttention
from omniformer.core.padded import admit, refuse
from omniformer.core.rules import Rule
from omniformer.export.entrance import Entrance, Port, axes_of
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
        modalities: those that come in.

    Raises:
        ValueError: the model has no embedder for a modality; or its core or a part of it cannot be exported.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def __init__(self, model: OmniFormer, head: str | None, modalities: Sequence[str]) -> None:
        super().__init__()
        self.rule: Rule = model.rule(head)
        self.head, self.modalities = head, tuple(modalities)
        # Beside the module's own parts, so that what is traced is not found twice.
        self._packed: dict[str, OmniFormer] = {"model": model}
        self.model = alone(model, head, modalities)

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


def alone(model: OmniFormer, head: str | None, modalities: Sequence[str]) -> OmniFormer:
    """One task of a model, without the parts of others: its weights are the model's own, but learn no more.

    Raises:
        ValueError: the model has no embedder for a modality, or the core or a part of it cannot be exported.
    """
    for modality in modalities:
        if modality not in model.embedders:
            raise ValueError(f"this model has no embedder for {modality!r}, only for {', '.join(model.embedders)}")
    # Not copied, for a model may be larger than half of the memory.
    shared: dict[int, Any] = {id(weight): nn.Parameter(weight.detach(), False) for weight in model.parameters()}
    shared |= {id(buffer): buffer for buffer in model.buffers()}
    part = copy.deepcopy(model, shared).eval()
    for parts, kept in ((part.embedders, modalities), (part.heads, [head])):
        for name in set(parts) - set(kept):
            del parts[name]
    refuse(part)
    for core in (part.reader, part.writer):
        admit(core)
    return part


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference, in parts of the largest expected number where that is above 1; infinite where what was
    found has another shape or is no number.

    Example:
        >>> import torch
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
    """The door for one modality."""
    embedder, number = model.embedders[modality], model.modalities[modality]
    axes = axes_of(embedder, tokenizer)
    return Entrance(modality, embedder, axes=axes, number=number, seq=seq, featured=featured)


def cut(piece: Tokens, n: int) -> Tokens:
    """The first tokens of a piece."""
    return Tokens(values=piece.values[:n], positions=piece.positions[:n], modality=piece.modality)
