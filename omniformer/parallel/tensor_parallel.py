"""Tensor parallelism ([Shoeybi et al. 2019](https://arxiv.org/abs/1909.08053)): the heads and the hidden features of
each block, divided between processes that read the same samples.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, SequenceParallel, parallelize_module
from torch.distributed.tensor.parallel.style import ParallelStyle

from omniformer.core.attention.cross import CrossAttention
from omniformer.core.attention.gated import GatedAttention
from omniformer.core.attention.multihead import MultiHead, SelfAttention
from omniformer.core.feedforward import FeedForward, GatedFeedForward
from omniformer.core.projections import Projection
from omniformer.parallel import fsdp
from omniformer.parallel.tensors import like, whole

# The layers that can be divided, by their map back onto the residual stream: it is divided by columns, the maps in by
# rows, each of their projections by itself. A subclass may compute otherwise, so that it has a line of its own.
_BACK: dict[type, str] = {
    SelfAttention: "out",
    GatedAttention: "out",
    CrossAttention: "out",
    FeedForward: "down",
    GatedFeedForward: "down",
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
    for name, part in core.named_modules():
        if (bias := getattr(part, "pair_bias", None)) is not None:
            raise ValueError(
                f"trainer=tensor cannot divide {name or 'the core'}, whose {type(bias).__name__} gives scores of all "
                "heads; choose trainer=fsdp"
            )
    layers = list(_layers(core))
    for name, layer in layers:
        _check(name, layer, mesh.size())
    names = {each: name for name, each in core.named_parameters()}
    orders: dict[str, Tensor] = {}
    for _, layer in layers:
        for module, order in _orders(layer, mesh.size()).items():
            for weight in layer.get_submodule(module).parameters():
                orders[names[weight]] = order
                weight.data = weight.data[order.to(weight.device)]
        # Each process cuts its part of what it holds: nothing is sent, so that no order of sending matters.
        parallelize_module(layer, mesh, _styles(layer), src_data_rank=None)
        if isinstance(layer, MultiHead):
            layer.n_heads, layer.n_kv_heads = layer.n_heads // mesh.size(), layer.n_kv_heads // mesh.size()
    return orders


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


def _layers(core: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers that blocks are made of, by name."""
    blocks = fsdp.units(core)
    if not blocks or len(blocks) < len(fsdp.named(core)):
        raise ValueError(
            f"trainer=tensor divides blocks that are called as wholes and share no weights, and those of "
            f"{type(core).__name__} are not all so; choose trainer=fsdp"
        )
    names = {each: name for name, each in core.named_modules()}
    for part in (part for block in blocks for part in block.modules() if hasattr(part, "branch")):
        branch: nn.Module = part.branch  # pyright: ignore[reportAssignmentType]
        children = list(branch.children())
        both = bool(children) and all(type(each) in _BACK for each in children)  # side by side
        for layer in children if both else [branch]:
            yield names[layer], layer


def _check(name: str, layer: nn.Module, size: int) -> None:
    if type(layer) not in _BACK:
        raise ValueError(
            f"trainer=tensor cannot divide {name}, a {type(layer).__name__}; it divides "
            f"{', '.join(kind.__name__ for kind in _BACK)}: choose trainer=fsdp"
        )
    if isinstance(layer, MultiHead):
        sizes = {"n_heads": layer.n_heads, "n_kv_heads": layer.n_kv_heads}
    else:
        sizes = {"d_ff": layer.get_submodule(_BACK[type(layer)]).in_features}
    for what, n in sizes.items():
        if n % size:  # pyright: ignore[reportOperatorIssue]
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
        if each.module != _BACK[type(layer)]:
            parts.setdefault(each.module, []).append(torch.arange(each.first, each.last).chunk(size))
    return {name: torch.cat([part[rank] for rank in range(size) for part in own]) for name, own in parts.items()}


def _styles(layer: nn.Module) -> dict[str, ParallelStyle]:
    """How each map is divided; norms of single heads stay whole, and see those of a process."""
    back = _BACK[type(layer)]
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
