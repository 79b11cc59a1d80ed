"""Messages along edges: each token sums what its neighbours say, beside the attention of its layer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.attention.multihead import Context
from omniformer.core.block import Block, Parts
from omniformer.core.graph_biases import edge_rows
from omniformer.core.init import linear_
from omniformer.core.ranges import Count, Natural


class EdgeSum(nn.Module):
    """`down(relu(up((1 + own) x + sum of relu(x of the source + edge))))` over the edges that arrive at a token (GIN,
    [Xu et al. 2019](https://arxiv.org/abs/1810.00826); with what edges are,
    [Hu et al. 2020](https://arxiv.org/abs/1905.12265)). A sum counts neighbours, which the mean of an attention cannot.

    Args:
        d_model: width of the residual stream.
        edge_vocab_sizes: number of values of each categorical field of an edge, the first columns of the edge features.
        edge_features: continuous numbers of an edge, the columns after them; with neither, all edges are alike.

    Shapes:
        x `[tokens, d_model]` → `[tokens, d_model]`.

    Raises:
        ValueError: at first use, the edge features have another number of columns, a category lies outside its
            vocabulary, or earlier tokens lie in a cache.

    Example:
        >>> from omniformer.core.attention.plan import lower
        >>> from omniformer.core.layout import Layout
        >>> from omniformer.core.rules import Full
        >>> layout = Layout(lengths=torch.tensor([3]), edges=torch.tensor([[0, 1], [1, 2]]))
        >>> EdgeSum(8)(torch.zeros(3, 8), Context(plan=lower(Full(), layout))).shape
        torch.Size([3, 8])
    """

    not_exported = "it reads the edges of the graph at hand"

    no_weight_decay = ("table",)

    def __init__(self, d_model: Count, *, edge_vocab_sizes: Sequence[Count] = (), edge_features: Natural = 0) -> None:
        super().__init__()
        checks.counts(d_model=d_model)
        checks.not_negative(edge_features=edge_features)
        checks.counts(**{f"edge_vocab_sizes[{i}]": size for i, size in enumerate(edge_vocab_sizes)})
        self.sizes = tuple(edge_vocab_sizes)
        self.own = nn.Parameter(torch.zeros(1))
        self.table = nn.Parameter(torch.empty(sum(self.sizes) + edge_features, d_model))
        self.up, self.down = nn.Linear(d_model, 2 * d_model), nn.Linear(2 * d_model, d_model)
        self.draw_weights(0.02, 0.02)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """What each token makes of itself and of its neighbours; a sample without edges has none."""
        if context.cache is not None:
            raise ValueError("EdgeSum joins tokens of one sequence by its edges, which a cache does not keep")
        layout = context.plan.layout
        total = (1 + self.own) * x
        if layout.edges is not None:
            source, target = layout.edges
            said = x.index_select(0, source)
            if len(self.table):
                said = said + edge_rows(self.table, self.sizes, layout, "EdgeSum")
            total = total.index_add(0, target, F.relu(said).to(total.dtype))
        else:
            total = total + self.table.sum() * 0.0  # every weight has a gradient, if one of zero
        return self.down(F.relu(self.up(total)))

    def draw_weights(self, std: float, output_std: float) -> None:
        nn.init.zeros_(self.own)
        nn.init.normal_(self.table, std=0.5)  # as nodes are drawn by their embedder
        linear_(self.up, std)
        linear_(self.down, output_std)


class MessageBlock(Block):
    """Attention and messages along edges side by side, each behind a norm of its own, then the feed-forward layer (GPS,
    [Rampášek et al. 2022](https://arxiv.org/abs/2205.12454)).

        x ──┬── attention ──(+)──┬── feedforward ──(+)── x
            ├── messages ────┤   │                  │
            └────────────────┘   └──────────────────┘

    Args:
        parts: what it is made from.
        edge_vocab_sizes: as for `EdgeSum`; in runs the data say both.
        edge_features: likewise.

    Example:
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=8, n_layers=2, n_heads=2, block=MessageBlock)
    """

    def __init__(self, parts: Parts, *, edge_vocab_sizes: Sequence[Count] = (), edge_features: Natural = 0) -> None:
        super().__init__(parts)
        known = {"edge_vocab_sizes": edge_vocab_sizes, "edge_features": edge_features}
        self.messages = parts.connect(EdgeSum(parts.d_model, **known))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Passes tokens `[tokens, d_model]` through attention and messages at once, then through the feed-forward."""
        x = self.attention(x, context) + self.messages.update(x, context)  # pyright: ignore[reportCallIssue]
        return self.feedforward(x, context)
