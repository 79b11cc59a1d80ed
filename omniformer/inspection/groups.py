"""What each device of a group computes, keeps and sends where the group computes one model together."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from omniformer.core.core import kinds
from omniformer.core.layout import Layout
from omniformer.core.rules import Rule
from omniformer.core.transformer import Transformer
from omniformer.inspection.cost import forward_cost
from omniformer.inspection.devices import around
from omniformer.parallel.tensor_parallel import first_part
from omniformer.parallel.vocabulary import first_part as first_part_of_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What falls to one device of a group.

    Args:
        core: what it has of the core, which FSDP2 then divides with everything else.
        copies: over how many devices FSDP2 divides that.
        flops: of a forward pass of it.
        activation_bytes: what it keeps for the backward pass.
        sent_bytes: within the group in a step.
    """

    core: nn.Module
    copies: int
    flops: int
    activation_bytes: int
    sent_bytes: int


def tensor(core: nn.Module, n: int, size: int, layout: Layout, rule: Rule, dtype: torch.dtype) -> Part:
    """A part of every layer, as `omniformer.parallel.tensor_parallel` divides them: what all give a token is added up
    behind each layer, and in the backward pass before each map in.

    Args:
        core: on the meta device.
        n: devices.
        size: of them compute together.
        layout: of the batch that they read.
        rule: who may attend to whom.
        dtype: that it is computed in.

    Raises:
        ValueError: the core cannot be divided so.
    """
    mine = copy.deepcopy(_stack(core, "tensor")).to(dtype)
    layers = first_part(mine, size)
    cost = forward_cost(mine, layout, rule)
    once = around(layout.n_tokens * mine.d_model * dtype.itemsize, size)
    again = _again(mine) * (len(layers) - mine.n_layers)  # the last sum of a block is not made again
    sums = len(layers) + again + sum(maps for maps, _ in layers)
    return Part(
        core=mine,
        copies=n // size,
        flops=cost.flops,
        activation_bytes=cost.activation_bytes,
        sent_bytes=int(sums * once),
    )


def ids(
    parts: Mapping[str, nn.Module], size: int, layout: Layout, dtype: torch.dtype
) -> tuple[dict[str, nn.Module], int]:
    """What one device has of tables and scores of ids, as `omniformer.parallel.vocabulary` divides them.

    Args:
        parts: of the model by name, on the meta device; they stay as they are.
        size: devices that compute together.
        layout: of the batch that they read.
        dtype: that it is computed in.

    Returns:
        The parts, and the bytes that it sends within the group in a step: what is found in tables, and the gradients of
        what heads score. The few numbers of each token that a loss takes are not counted.
    """
    beside = copy.deepcopy(nn.ModuleDict({name: part for name, part in parts.items() if name != "core"}))
    tables, heads = first_part_of_ids(beside, [*beside.values()], dict(beside.items()), size)
    widths = [each.embedding_dim for each in tables] + [head.ids.in_features for head in heads]
    return dict(parts) | dict(beside.items()), sum(
        around(layout.n_tokens * width * dtype.itemsize, size) for width in widths
    )


def context(core: nn.Module, n: int, size: int, layout: Layout, rule: Rule, dtype: torch.dtype) -> Part:
    """A part of the tokens, as `omniformer.parallel.context` divides them: keys and values of all are gathered in every
    layer, outputs behind the last one, and their gradients added up.

    Args:
        core: on the meta device.
        n: devices.
        size: of them compute together.
        layout: of the batch that they read.
        rule: who may attend to whom.
        dtype: that it is computed in.

    Raises:
        ValueError: the core cannot be divided so.
    """
    stack, itemsize = copy.deepcopy(_stack(core, "context")).to(dtype), dtype.itemsize
    cost = forward_cost(stack, layout, rule)
    gathered = layout.n_tokens * itemsize * sum(getattr(part, "cached_per_token", 0) for part in stack.modules())
    outputs = layout.n_tokens * itemsize * stack.d_model
    passed = (1 + _again(stack)) * gathered + outputs
    return Part(
        core=core,
        copies=n,
        flops=cost.flops // size,
        activation_bytes=cost.activation_bytes // size + int((1 - _again(stack)) * gathered * (size - 1) / size),
        sent_bytes=int(passed * (size - 1) / size) + around(gathered + outputs, size),
    )


GROUPS: dict[str, Callable[[nn.Module, int, int, Layout, Rule, torch.dtype], Part]] = {
    "tensor": tensor,
    "context": context,
}


def _stack(core: nn.Module, strategy: str) -> Transformer:
    if not isinstance(core, Transformer) or len(kinds(core)) > 1 or core.reads_memory:
        raise ValueError(
            f"strategy={strategy} is known of a Transformer that reads one sequence, and this core is a "
            f"{type(core).__name__}{' with cross-attention' if getattr(core, 'reads_memory', False) else ''}; choose "
            "strategy=fsdp"
        )
    return core


def _again(core: Transformer) -> float:
    """The share of blocks that the backward pass computes again."""
    return len(range(0, core.n_layers, core.checkpoint_blocks)) / core.n_layers if core.checkpoint_blocks else 0
