"""Fully sharded data parallelism (FSDP2, [Zhao et al. 2023](https://arxiv.org/abs/2304.11277)), block by block."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
    register_fsdp_forward_method,
)

STEPS = ("training_step", "validation_step", "test_step", "predict_step")


def apply(
    module: nn.Module,
    mesh: DeviceMesh,
    *,
    reshard_after_forward: bool,
    param_dtype: torch.dtype | None,
    offload: bool = False,
) -> list[nn.Parameter]:
    """Divides the weights of a module between the processes of a mesh, in place.

    Each block of a core is a unit, gathered when it is called and let go behind it. All the rest (embedders, heads,
    final norms) is one more, gathered for a whole step: which of it a process reads depends on its samples, and
    processes that gathered different parts would wait for each other for ever.

    Args:
        module: whose steps (`training_step` and so on) use the weights.
        mesh: of one dimension.
        reshard_after_forward: whether a block's weights are let go after the forward pass and gathered again in the
            backward pass.
        param_dtype: in which weights are gathered; None as they are. Gradients are added up in float32.
        offload: whether pieces of weights and gradients stay in the host's memory, from which a unit is copied to its
            device when it is gathered; off by default, since a step then waits for the host.

    Returns:
        The parameters without dimensions, which cannot be divided: they stay whole, and so do their gradients, which
        the caller must average (`average`).
    """
    policy = MixedPrecisionPolicy(param_dtype=param_dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    scalars = [each for each in module.parameters() if each.ndim == 0]
    # Pinned memory is what a GPU copies from beside its work; without one there is none to pin.
    where = CPUOffloadPolicy(pin_memory=mesh.device_type == "cuda") if offload else OffloadPolicy()
    shared: Any = {"mesh": mesh, "mp_policy": policy, "offload_policy": where, "ignored_params": set(scalars)}
    for unit in units(module):
        fully_shard(unit, reshard_after_forward=reshard_after_forward, **shared)
        unit.register_forward_pre_hook(_learning, prepend=True, with_kwargs=True)
    fully_shard(module, reshard_after_forward=False, **shared)
    for step in STEPS:
        register_fsdp_forward_method(module, step)
    return scalars


def units(module: nn.Module) -> list[nn.Module]:
    """The blocks that are gathered one by one: those that a core names (`Transformer.units`), of which every process
    calls the same ones in the same order, as far as they share no weight with anything else.
    """
    everywhere = _occurrences(module)
    return [unit for unit in named(module) if _occurrences(unit).items() <= everywhere.items()]


def _occurrences(module: nn.Module) -> Counter[int]:
    """How often each parameter stands in a module."""
    return Counter(id(each) for _, each in module.named_parameters(remove_duplicate=False))


def named(module: nn.Module) -> list[nn.Module]:
    """What the outermost parts name that name any."""
    if hasattr(module, "units"):
        return list(module.units)  # pyright: ignore[reportArgumentType]
    return [unit for part in module.children() for unit in named(part)]


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Keeps all weights whole for a while: processes may then call different parts, each as often as it likes.

    Validation and test need this, where a process may have no sample, and texts end at different lengths.
    """
    parts = [each for each in module.modules() if isinstance(each, FSDPModule)]
    # Weights that were gathered in inference mode could not be trained with afterwards.
    with torch.inference_mode(False), torch.no_grad():
        fully_shard.state(module)._lazy_init()  # pyright: ignore[reportFunctionMemberAccess] - else a block is the root
        for part in parts:
            part.unshard()
    reshards = [_reshards(part) for part in parts]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for part, after_forward in zip(parts, reshards, strict=True):
            part.reshard()
            part.set_reshard_after_forward(after_forward, recurse=False)


def average(parameters: list[nn.Parameter], mesh: DeviceMesh) -> None:
    """Averages the gradients of whole parameters over the processes; one without gradient counts as zero."""
    group = mesh.get_group()
    for parameter in parameters:
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.distributed.all_reduce(parameter.grad, group=group)
            parameter.grad /= mesh.size()


def _reshards(part: FSDPModule) -> bool:
    return any(group.post_forward_mesh_info is not None for group in fully_shard.state(part)._fsdp_param_groups)


def _learning(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
    """Lets the backward pass reach the block's input also where that came from nothing that learns, as the tokens of a
    process without samples do: all processes then add up gradients in one order.
    """
    first = args[0]
    if torch.is_grad_enabled() and isinstance(first, Tensor) and not first.requires_grad:
        args = (first.detach().requires_grad_(), *args[1:])
    return args, kwargs
