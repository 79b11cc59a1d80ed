"""Whether two tokens belong together: edges of a graph that are not known."""

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.init import linear_
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count
from omniformer.heads.head import Head


class LinkHead(Head):
    """A vector for each token; two tokens are joined as surely as their vectors point the same way, by inner product
    and sigmoid ([Kipf and Welling 2016](https://arxiv.org/abs/1611.07308), 2).

    The product of two mapped tokens is a bilinear form that does not ask which comes first. A learned offset says how
    likely any two are.

    Args:
        d_model: width of the core.
        d_link: width of the vectors.

    Shapes:
        x `[tokens, d_model]` → `[tokens, d_link]`.

    Example:
        >>> head = LinkHead(d_model=8, d_link=4)
        >>> vectors = head(torch.randn(5, 8), Layout.from_lengths(5))
        >>> head.scores(vectors, torch.tensor([[0, 1], [1, 4]])).shape
        torch.Size([2])
    """

    per_token = True
    output = "vectors"
    instead = "says which nodes are joined, it predicts no class: call scores of its head on pairs of nodes"

    def __init__(self, *, d_model: Count, d_link: Count = 64) -> None:
        super().__init__()
        checks.counts(d_model=d_model, d_link=d_link)
        self.map = nn.Linear(d_model, d_link)
        self.offset = nn.Parameter(torch.zeros(()))
        self.reset_parameters()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """The vector of each token."""
        return self.map(x)

    def scores(self, vectors: Tensor, pairs: Tensor) -> Tensor:
        """Logits of whether pairs of tokens are joined, in float32.

        Shapes:
            vectors `[tokens, d_link]`, pairs int64 `[pairs, 2]` → `[pairs]`.
        """
        first, second = vectors.float()[pairs].unbind(1)
        return (first * second).sum(-1) / vectors.shape[1] ** 0.5 + self.offset

    def predict(self, outputs: Tensor) -> Tensor:
        """The vectors themselves; `scores(...).sigmoid()` is the probability of an edge."""
        return outputs.float()

    def reset_parameters(self) -> None:
        """Draws the map anew, so small that any two tokens start about as likely joined as not."""
        linear_(self.map, 0.25 * self.map.in_features**-0.5)
        nn.init.zeros_(self.offset)
