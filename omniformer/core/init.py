"""Initial weights: how wide a draw, and how the draw shrinks with depth."""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


def linear_(linear: nn.Linear, std: float) -> None:
    """Draws a linear map from a normal distribution and sets its offset to zero; `std=0` gives the zero map."""
    nn.init.normal_(linear.weight, std=std) if std else nn.init.zeros_(linear.weight)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)


def depth_scaled(std: float, n_layers: int) -> float:
    """The deviation for maps back onto the residual stream: `std / sqrt(2 n_layers)`, so that the stream's variance
    does not grow with depth (GPT-2, [Radford et al. 2019](https://openai.com/research/better-language-models), 2.3).

    Example:
        >>> depth_scaled(0.02, 2)
        0.01
    """
    return std / (2 * n_layers) ** 0.5


def untouched(part: nn.Module) -> Tensor:
    """Zero as far as numbers go, and a gradient of zero for every weight of a part that had nothing to compute.

    A weight without any gradient would stop the other processes of a distributed run, which wait for it.

    Example:
        >>> part = nn.Linear(2, 1)
        >>> untouched(part).backward()
        >>> part.weight.grad.tolist()
        [[0.0, 0.0]]
    """
    return sum((weight.flatten()[:0].sum() for weight in part.parameters()), torch.zeros(()))


@runtime_checkable
class Branch(Protocol):
    """A part that ends in a map back onto the residual stream, as attention and feed-forward layers do."""

    def draw_weights(self, std: float, output_std: float) -> None:
        """Draws its weights anew.

        Args:
            std: deviation for the maps in.
            output_std: deviation for the map back onto the residual stream.
        """


def reset(part: nn.Module, std: float, output_std: float) -> None:
    """Draws the weights of a part and of all parts inside it anew.

    A `Branch` is told both deviations; every other part says by `reset_parameters` how it is drawn. Linear maps and
    tables of PyTorch itself are drawn by the part that holds them.

    Args:
        std: deviation for the maps in.
        output_std: deviation for the maps back onto the residual stream.
    """
    for module in part.modules():
        draw: Any = getattr(module, "reset_parameters", None)
        if isinstance(module, Branch):
            module.draw_weights(std, output_std)
        elif draw is not None and not isinstance(module, nn.Linear | nn.Embedding):
            draw()
