"""Initial weights: how wide a draw, and how the draw shrinks with depth."""

from torch import nn


def linear_(linear: nn.Linear, std: float) -> None:
    """Draws a linear map from a normal distribution and sets its offset to zero; `std=0` gives the zero map."""
    nn.init.normal_(linear.weight, std=std) if std else nn.init.zeros_(linear.weight)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)


def depth_scaled(std: float, n_layers: int) -> float:
    """The deviation for maps back onto the residual stream: `std / sqrt(2 n_layers)`, so that the stream's variance does
    not grow with depth (GPT-2, [Radford et al. 2019](https://openai.com/research/better-language-models), 2.3).

    Example:
        >>> depth_scaled(0.02, 2)
        0.01
    """
    return std / (2 * n_layers) ** 0.5
