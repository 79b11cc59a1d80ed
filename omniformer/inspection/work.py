"""What a model computes for a token and for a pair of tokens: by what samples of different lengths compare."""

import torch

from omniformer.core.layout import Layout
from omniformer.core.rules import Full
from omniformer.inspection.cost import forward_cost
from omniformer.inspection.report import memory_for, outside_flops
from omniformer.model import OmniFormer

_LENGTH = 64


def token_and_pair(model: OmniFormer, head: str) -> tuple[float, float]:
    """Operations of a forward pass for each token, and for each token that another attends to.

    A pass over a sample of n tokens in which all attend to all costs `n token + n² pair`; two lengths give both. A core
    of several parts reads as many tokens with each. Approximations of attention have no pairs.

    Args:
        model: on the meta device.
        head: of the member whose samples are compared.

    Raises:
        ValueError: the model is not on the meta device.

    Example:
        >>> from omniformer.core.transformer import Transformer
        >>> from omniformer.heads import ClassificationHead
        >>> with torch.device("meta"):
        ...     core = Transformer(d_model=16, n_layers=1, n_heads=2)
        ...     heads = {"x": ClassificationHead(d_model=16, n_classes=3)}
        ...     model = OmniFormer(core=core, embedders={}, heads=heads)
        >>> token, pair = token_and_pair(model, "x")
        >>> token == 2 * 12 * 16**2 + 2 * 3 * 16 / 64, pair == 4 * 16
        (True, True)
    """
    memory = memory_for(model.core, 1, torch.float32)
    one, two = (
        forward_cost(model.core, Layout.from_lengths(length), Full(), memory=memory).flops
        for length in (_LENGTH, 2 * _LENGTH)
    )
    pair = (two - 2 * one) / (2 * _LENGTH**2)
    outside = outside_flops(model.head(head), Layout.from_lengths(_LENGTH))
    return (one + outside) / _LENGTH - pair * _LENGTH, pair
