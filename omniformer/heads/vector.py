"""One vector for each sample: what a core has made of a sentence, a picture or a sound."""

from collections.abc import Callable

from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.init import linear_
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count
from omniformer.heads.head import Head
from omniformer.heads.pooling import MeanPool, width_of


class VectorHead(Head):
    """Pooled tokens, and a linear map of them where one is wanted: the pooled output of BERT and ViT, the projected one
    of a CLIP tower ([Radford et al. 2021](https://arxiv.org/abs/2103.00020), 2.3), the mean of a sentence
    ([Reimers and Gurevych 2019](https://arxiv.org/abs/1908.10084), section 3).

    Args:
        d_model: width of the core.
        pool: makes the pooling, called with `d_model`; the mean by default.
        d_embedding: width of the vectors, by a linear map without offset; no map by default.

    Shapes:
        x `[tokens, d_model]` → `[samples, d_embedding]`, or what the pooling gives without a map.

    Example:
        >>> import torch
        >>> VectorHead(d_model=8, d_embedding=3)(torch.zeros(5, 8), Layout.from_lengths(2, 3)).shape
        torch.Size([2, 3])
    """

    output = "embedding"

    def __init__(
        self, *, d_model: Count, pool: Callable[..., nn.Module] = MeanPool, d_embedding: Count | None = None
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, d_embedding=d_embedding)
        self.pool = pool(d_model=d_model)
        width = width_of(self.pool, d_model)
        self.map = nn.Identity() if d_embedding is None else nn.Linear(width, d_embedding, bias=False)
        self.reset_parameters()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """The vector of each sample."""
        return self.map(self.pool(x, layout))

    def predict(self, outputs: Tensor) -> Tensor:
        """The vectors themselves."""
        return outputs.float()

    def published(self, x: Tensor, layout: Layout) -> dict[str, Tensor]:
        """The vectors, as pooled outputs."""
        return {"pooler_output": self(x, layout)}

    def reset_parameters(self) -> None:
        """Draws the map anew."""
        if isinstance(self.map, nn.Linear):
            linear_(self.map, self.map.in_features**-0.5)
