"""Rotary positions by the order of tokens, whatever coordinates they have."""

from torch import Tensor

from omniformer.core.layout import Layout
from omniformer.core.rotary import Rotary


class OrderedRotary(Rotary):
    """`Rotary` of one axis that turns every token by its place in its sample.

    Pictures then stand in a text as so many words, and what follows them is further away
    ([Liu et al. 2023](https://arxiv.org/abs/2304.08485), LLaVA), while their rows and columns are the business of who
    embeds them. Arguments as for `Rotary`.

    Example:
        >>> import torch
        >>> places = Layout(lengths=torch.tensor([2]), positions=torch.tensor([[7.0, 3.0], [0.0, 0.0]]))
        >>> rotation = OrderedRotary(head_dim=2)(places)
        >>> torch.equal(rotation.cos, Rotary(head_dim=2)(Layout.from_lengths(2)).cos)
        True
    """

    def _coordinates(self, layout: Layout, seen: Layout | None = None) -> Tensor:
        return layout.index[:, None]
