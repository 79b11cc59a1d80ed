"""Additive attention scores: how much more or less a query attends to a key, apart from what the tokens say."""

from torch import Tensor, nn

from omniformer.core.layout import View


class Bias(nn.Module):
    """A fixed or learned number for each head and pair of tokens, added to the scaled scores before the softmax.

    A subclass implements `forward`. Views broadcast against each other, as in `Rule.attend`, so one bias serves dense
    blocks, bands and lists of edges.
    """

    def forward(self, query: View, key: View) -> Tensor:
        """The scores to add.

        Shapes:
            `[heads or 1, *pairs]`, where pairs is the broadcast shape of the two views.
        """
        raise NotImplementedError
