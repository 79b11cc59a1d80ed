"""What each of several devices holds and sends in a training step, computed from the shapes of a model's weights."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import nn

from omniformer.parallel.fsdp import units

# A gradient in float32, in which gradients are added up whatever weights are gathered in.
_GRADIENT = 4
# A weight, its gradient and the two moments of AdamW, all in float32.
TRAINED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What falls to the first of several devices, which has the largest pieces; activations aside.

    Args:
        held_bytes: weights, gradients and the two moments of AdamW in float32, from step to step.
        whole_bytes: what stands beside them at the fullest moment of a step: weights that were gathered, and gradients
            that are not divided yet.
        sent_bytes: what it sends in a step; it receives as much. Collectives go around a ring, so that adding up n
            copies of S bytes takes 2 (n - 1) / n S, and gathering or dividing a sum half of it.
    """

    held_bytes: int
    whole_bytes: int
    sent_bytes: int


def ddp(model: nn.Module, n: int, gathered: torch.dtype) -> Share:
    """Everything on each device; gradients are added up in float32, in the buffers in which they stay.

    Example:
        >>> ddp(nn.Linear(7, 1), 4, torch.float32)
        Share(held_bytes=128, whole_bytes=0, sent_bytes=48)
    """
    del gathered  # nothing is
    weights = _numel(model.parameters())
    return Share(held_bytes=TRAINED * weights, whole_bytes=0, sent_bytes=around(_GRADIENT * weights, n))


def fsdp(model: nn.Module, n: int, gathered: torch.dtype) -> Share:
    """Everything in pieces, as `omniformer.parallel.fsdp` divides it.

    Blocks are gathered for the forward pass and again for the backward pass, all the rest once a step. The fullest
    moment is in the backward pass of a block, while the next one arrives and the gradient of the one before leaves in
    float32; or at the end, when the gradients of all the rest are there, of a weight with several places from each and
    their sum, or leave, with no weights beside them. It is a bound: the gradients of embedders come last, and are
    counted beside the blocks too.

    Args:
        model: core, embedders, heads.
        n: devices.
        gathered: in which type weights are gathered, and gradients are before they are added up.
    """
    blocks = [list(unit.parameters()) for unit in units(model)]
    inside = {id(weight) for block in blocks for weight in block}
    rest = [weight for weight in model.parameters() if id(weight) not in inside]
    scalars = _numel(weight for block in (*blocks, rest) for weight in block if weight.ndim == 0)
    pieces, size = [_pieces(block, n) for block in blocks], gathered.itemsize
    other, largest = _pieces(rest, n), max(pieces, default=0)
    places = Counter(id(weight) for _, weight in model.named_parameters(remove_duplicate=False))
    shared = sum(places[id(weight)] * _pieces([weight], n) for weight in rest if places[id(weight)] > 1)
    beside_blocks = 2 * size * other + (3 * size + _GRADIENT) * largest
    gathers = (2 * sum(pieces) + other) * size
    return Share(
        held_bytes=TRAINED * (sum(pieces) + other + scalars),
        whole_bytes=n * max(beside_blocks, size * (2 * other + shared), (size + _GRADIENT) * other),
        sent_bytes=(n - 1) * (gathers + _GRADIENT * (sum(pieces) + other)) + around(_GRADIENT * scalars, n),
    )


STRATEGIES: dict[str, Callable[[nn.Module, int, torch.dtype], Share]] = {"ddp": ddp, "fsdp": fsdp}


def _numel(weights: Iterable[nn.Parameter]) -> int:
    return sum(weight.numel() for weight in weights)


def _pieces(weights: Sequence[nn.Parameter], n: int) -> int:
    """Numbers that a device holds of weights divided by rows: of those whose rows do not go up, all pieces are as large
    as the first one, for the ring's sake.
    """
    return sum(ceil(weight.shape[0] / n) * weight[0].numel() for weight in weights if weight.ndim)


def around(n_bytes: int, n: int) -> int:
    """What a device sends where n of them add up their copies of so many bytes.

    Example:
        >>> around(8, 4)
        12
    """
    return 2 * (n - 1) * n_bytes // n
