"""Tensor parallelism ([Shoeybi et al. 2019](https://arxiv.org/abs/1909.08053)): the heads and the hidden features of
each block, divided between processes that read the same samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, SequenceParallel, parallelize_module
from torch.distributed.tensor.parallel.style import ParallelStyle

from omniformer.core.attention.cross import CrossAttention
from omniformer.core.attention.gated import GatedAttention
from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.feedforward import FeedForward, GatedFeedForward
from omniformer.core.projections import Projection
from omniformer.parallel.layers import layers
from omniformer.parallel.tensors import like, whole


@dataclass(frozen=True, slots=True)
class _Kind:
    """How layers of a kind are divided: the map back onto the residual stream by columns, the maps in by rows, each of
    their projections by itself.

    Args:
        back: the name of that map.
        sizes: what each process has a part of: by its name, the module below the layer that counts it, and as what.
    """

    back: str
    sizes: Mapping[str, tuple[str, str]]


_HEADED = _Kind("out", {"n_heads": ("", "n_heads"), "n_kv_heads": ("", "n_kv_heads")})
_HIDDEN = _Kind("down", {"d_ff": ("down", "in_features")})
_KINDS: dict[type, _Kind] = {
    SelfAttention: _HEADED,
    GatedAttention: _HEADED,
    CrossAttention: _HEADED,
    FeedForward: _HIDDEN,
    GatedFeedForward: _HIDDEN,
}
_HEADS = 1  # the axis of `[tokens, heads, head_dim]`


def apply(core: nn.Module, mesh: DeviceMesh) -> dict[str, Tensor]:
    """Divides the layers of a core between the processes of a mesh, in place; all must hold the same weights.

    Every process computes its heads, and its part of the hidden features; what all of them give a token is added up
    behind each layer. Embedders, norms and heads stay as they are.

    Args:
        core: whose blocks are called one after the other.
        mesh: of one dimension.

    Returns:
        The order in which rows stand now, by the name of each parameter of which it is another one: so that those of a
        process lie together, its queries, then its keys, then its values.

    Raises:
        ValueError: the number of processes does not divide the heads or the hidden features of a layer; a layer is of
            a kind that cannot be divided, or the core has no blocks that are called as wholes.

    Shapes:
        each order int64 `[rows]`.
    """
    found = _divisible(core, mesh.size())
    names = {each: name for name, each in core.named_parameters()}
    orders: dict[str, Tensor] = {}
    for layer in found:
        for module, order in _orders(layer, mesh.size()).items():
            for weight in layer.get_submodule(module).parameters():
                orders[names[weight]] = order
                weight.data = weight.data[order.to(weight.device)]
        # Each process cuts its part of what it holds: nothing is sent, so that no order of sending matters.
        parallelize_module(layer, mesh, _styles(layer), src_data_rank=None)
        _count_parts(layer, mesh.size())
    return orders


def first_part(core: nn.Module, size: int) -> list[tuple[int, nn.Module]]:
    """Leaves of the layers of a core what the first of several processes computes of them, in place.

    Args:
        core: as for `apply`; its layers then give sums that lack those of the others.
        size: how many processes.

    Returns:
        The divided layers, each with how many maps in it has.

    Raises:
        ValueError: as for `apply`.
    """
    found = []
    for layer in _divisible(core, size):
        orders, back = _orders(layer, size), layer.get_submodule(_KINDS[type(layer)].back)
        for module, order in orders.items():
            for weight in layer.get_submodule(module).parameters():
                weight.data = weight.data[order.chunk(size)[0].to(weight.device)]
        for weight in back.parameters():
            weight.data = weight.data.chunk(size, dim=1)[0] if weight.ndim == 2 else weight.data
        _count_parts(layer, size)
        found.append((len(orders), layer))
    return found


def reordered(state: Mapping[str, Tensor], orders: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors with their rows in another order, in the pieces that they were in; all processes that hold one must ask.

    Args:
        state: by names of parameters, and others.
        orders: by the names of those that change.

    Example:
        >>> reordered({"qkv": torch.tensor([1, 3, 2])}, {"qkv": torch.tensor([0, 2, 1])})["qkv"].tolist()
        [1, 2, 3]
    """

    def changed(tensor: Tensor, order: Tensor) -> Tensor:
        rows = whole(tensor)
        return like(rows[order.to(rows.device)], tensor)

    return {name: changed(each, orders[name]) if name in orders else each for name, each in state.items()}


def _divisible(core: nn.Module, size: int) -> list[nn.Module]:
    """The layers of a core, all of which so many processes can divide."""
    for name, part in core.named_modules():
        if (bias := getattr(part, "pair_bias", None)) is not None:
            raise ValueError(
                f"trainer=tensor cannot divide {name or 'the core'}, whose {type(bias).__name__} gives scores of all "
                "heads; choose trainer=fsdp"
            )
    found = list(layers(core, _KINDS, "tensor"))
    for name, layer in found:
        _check(name, layer, size)
    return [layer for _, layer in found]


def _count_parts(layer: nn.Module, size: int) -> None:
    """Lets a layer count what a process has."""
    for part, attribute in _KINDS[type(layer)].sizes.values():
        owner = layer.get_submodule(part)
        setattr(owner, attribute, getattr(owner, attribute) // size)


def _check(name: str, layer: nn.Module, size: int) -> None:
    for what, (part, attribute) in _KINDS[type(layer)].sizes.items():
        if (n := getattr(layer.get_submodule(part), attribute)) % size:
            raise ValueError(
                f"trainer.strategy.size={size} does not divide {what}={n} of {name}; choose a number that does"
            )
    for map_name in _maps(layer):
        found = layer.get_submodule(map_name)
        if type(found) is not nn.Linear or list(found.children()):
            raise ValueError(
                f"trainer=tensor cannot divide {name}.{map_name}, which is no plain linear map; choose trainer=fsdp"
            )


def _orders(layer: nn.Module, size: int) -> dict[str, Tensor]:
    """By which rows each map in is divided: those of the first process, of the second, and so on."""
    parts: dict[str, list[tuple[Tensor, ...]]] = {}
    for each in _projections(layer):
        if each.module != _KINDS[type(layer)].back:
            parts.setdefault(each.module, []).append(torch.arange(each.first, each.last).chunk(size))
    return {name: torch.cat([part[rank] for rank in range(size) for part in own]) for name, own in parts.items()}


def _styles(layer: nn.Module) -> dict[str, ParallelStyle]:
    """How each map is divided; norms of single heads stay whole, and see those of a process."""
    back = _KINDS[type(layer)].back
    styles: dict[str, ParallelStyle] = {
        name: RowwiseParallel() if name == back else ColwiseParallel() for name in _maps(layer)
    }
    for name in ("q_norm", "k_norm"):
        if list(getattr(layer, name, nn.Identity()).parameters()):
            styles[name] = SequenceParallel(sequence_dim=_HEADS, use_local_output=True)
    return styles


def _maps(layer: nn.Module) -> list[str]:
    return list(dict.fromkeys(each.module for each in _projections(layer)))


def _projections(layer: Any) -> list[Projection]:
    return list(layer.projections.values())
