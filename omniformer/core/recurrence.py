"""What layers share that carry a memory of one size from token to token in the place of keys and values."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from omniformer.core.attention.plan import Plan
from omniformer.core.biases import Bias
from omniformer.core.rules import Causal


def in_float32(x: Tensor) -> AbstractContextManager[Any]:
    """Switches autocast off for what is computed inside on x's device: long sums in bfloat16 would stall."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def wide(x: Tensor) -> Tensor:
    """The numbers in float32, or in float64 where they are in that."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def refuse(name: str, plan: Plan, *, bias: Bias | None = None, cached: bool = False) -> None:
    """Raises when a layer without a matrix of weights is asked for what it cannot do.

    Args:
        name: of the layer, for the message.
        plan: what it is asked to do.
        bias: additive scores, where it has no place for them.
        cached: whether it keeps a state of its own for earlier tokens.

    Raises:
        ValueError: there is a bias, or keys are not those of the queries' own tokens.
    """
    if bias is not None:
        raise ValueError(f"{name} has no scores to add a bias to; use SelfAttention, or positions without a bias")
    if plan.layout is not plan.key_layout and not cached:
        raise ValueError(f"{name} cannot read keys of other tokens: decode without a cache, or use SelfAttention")


def refuse_unless_causal(name: str, plan: Plan, *, bias: Bias | None = None, cached: bool = False) -> None:
    """As `refuse`, for a layer that reads token after token.

    Raises:
        ValueError: as for `refuse`, or the rule is not `Causal()`.
    """
    refuse(name, plan, bias=bias, cached=cached)
    if not isinstance(plan.rule, Causal):
        raise ValueError(f"{name} can do Causal(); received {plan.rule}")


def draw_rates(log_rate: Tensor, step_bias: Tensor) -> None:
    """Draws how fast heads forget, in place ([Dao and Gu 2024](https://arxiv.org/abs/2405.21060), published code).

    Args:
        log_rate: logarithms of the rates, which lie between 1 and 16.
        step_bias: offsets of which the softplus, the step of a token that says nothing, lies between a thousandth and a
            tenth.
    """
    with torch.no_grad():
        log_rate.uniform_(1, 16).log_()
        step = step_bias.uniform_(-6.9078, -2.3026).exp()  # e^-6.9 is a thousandth, e^-2.3 a tenth
        step_bias.copy_(step + (-(-step).expm1()).log())  # softplus of it is the step
