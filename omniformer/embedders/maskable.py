"""Tokens whose values may be hidden from the model."""

from dataclasses import replace

import torch
from omniformer_tokenizers import Packed
from torch import Tensor, nn

from omniformer.core.ranges import Count
from omniformer.embedders.reads import Reads


class Maskable(nn.Module):
    """Any embedder, with a learned vector in the place of the values of hidden tokens
    ([Devlin et al. 2018](https://arxiv.org/abs/1810.04805), 3.1; [He et al. 2021](https://arxiv.org/abs/2111.06377)).

    Tokens are hidden where the feature `masked` is True: their ids, categories or numbers are 0 for the embedder, and
    the vector is added. Where they lie stays visible, and so do further features, such as the degree of a node. Tokens
    without that feature are embedded as ever.

    Args:
        d_model: width of the core.
        embedder: makes the vectors of tokens.

    Shapes:
        values of the embedder inside → `[tokens, d_model]`.

    Example:
        >>> from omniformer.embedders import IdEmbedder
        >>> embedder = Maskable(d_model=8, embedder=IdEmbedder(d_model=8, vocab_size=10))
        >>> seen, hidden = torch.tensor([3, 5]), {"masked": torch.tensor([True, True])}
        >>> given = {"positions": torch.zeros(2, 1), "modality": "text", "lengths": torch.tensor([2])}
        >>> a, b = embedder(Packed(values=seen, features=hidden, **given))
        >>> bool((a == b).all())
        True
    """

    hides = True
    """Whether it knows hidden tokens."""

    def __init__(self, *, d_model: Count, embedder: nn.Module) -> None:
        super().__init__()
        self.embedder = embedder
        self.vector = nn.Parameter(torch.empty(d_model))
        self.reset_parameters()

    def forward(self, packed: Packed) -> Tensor:
        """The vectors of all tokens."""
        if "masked" not in packed.features:
            # Where nothing is hidden the vector still gets a gradient, which is zero.
            return self.embedder(packed) + self.vector[:0].sum()
        masked = packed.features["masked"]
        rest = {name: feature for name, feature in packed.features.items() if name != "masked"}
        rows = masked.view(-1, *[1] * (packed.values.ndim - 1))
        x = self.embedder(replace(packed, values=packed.values.masked_fill(rows, 0), features=rest))
        return x + masked[:, None].to(x.dtype) * self.vector.to(x.dtype)

    @property
    def table(self) -> nn.Embedding | None:
        """The table of the embedder inside, for heads that share it; None where it has none."""
        return getattr(self.embedder, "table", None)

    @property
    def reads(self) -> Reads | None:
        """What the embedder inside reads; None where that says nothing."""
        return getattr(self.embedder, "reads", None)

    def reset_parameters(self) -> None:
        """Draws the vector anew."""
        nn.init.normal_(self.vector, std=0.02)
