"""A stack whose layers are the same layer again and again."""

from typing import Any

from torch import nn

from omniformer.core.ranges import Count
from omniformer.core.transformer import Transformer


class SharedTransformer(Transformer):
    """A `Transformer` whose layers share their weights, in groups from the first layer on
    ([Lan et al. 2019](https://arxiv.org/abs/1909.11942), ALBERT, 3.1): as deep as others, with the weights of a few
    layers.

    Args:
        n_layers: how often tokens pass a layer.
        n_groups: how many layers have weights of their own.
        **options: those of `Transformer`.

    Raises:
        ValueError: there are more groups than layers.

    Example:
        >>> core = SharedTransformer(d_model=8, n_layers=6, n_groups=2, n_heads=2)
        >>> core.blocks[0] is core.blocks[2], core.blocks[2] is core.blocks[3]
        (True, False)
    """

    def __init__(self, *, n_layers: Count, n_groups: Count = 1, **options: Any) -> None:
        if not 1 <= n_groups <= n_layers:
            raise ValueError(f"n_groups={n_groups} must be at least 1 and at most n_layers={n_layers}")
        super().__init__(n_layers=n_layers, **options)
        own: list[nn.Module] = list(self.blocks)[:n_groups]
        self.blocks = nn.ModuleList(own[layer * n_groups // n_layers] for layer in range(n_layers))
