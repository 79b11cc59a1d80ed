"""Blocks: one layer of a transformer, made of attention and feed-forward branches."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from omniformer.core.attention.cross import CrossAttention
from omniformer.core.attention.multihead import Context
from omniformer.core.connection import TanhGate
from omniformer.core.ranges import BelowOne, Count

Factory = Callable[..., nn.Module]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What one block is made from: the factories of its parts, and the sizes of its place in the stack.

    Args:
        layer: number of the block, counted from 0.
        d_model: width of the residual stream.
        n_heads: number of query heads.
        n_kv_heads: number of key and value heads; None: as many as query heads.
        attention: makes attention, called with `d_model`, `n_heads`, `n_kv_heads`.
        feedforward: makes a feed-forward layer, called with `d_model`.
        norm: makes a norm, called with a width.
        connection: makes a residual connection around a branch.
        dropout: of the output of every branch.
        stochastic_depth: chance to skip a branch of this block.
    """

    layer: int
    d_model: Count
    n_heads: Count
    n_kv_heads: Count | None
    attention: Factory
    feedforward: Factory
    norm: Factory
    connection: Factory
    dropout: BelowOne
    stochastic_depth: BelowOne

    def new_attention(self, attention: Factory | None = None) -> nn.Module:
        """Attention of this block's sizes; of another kind where one is given."""
        return (attention or self.attention)(d_model=self.d_model, n_heads=self.n_heads, n_kv_heads=self.n_kv_heads)

    def new_feedforward(self) -> nn.Module:
        """A feed-forward layer of this block's width."""
        return self.feedforward(self.d_model)

    def connect(self, branch: nn.Module, connection: Factory | None = None) -> nn.Module:
        """A residual connection around a branch; of another kind where one is given."""
        return (connection or self.connection)(
            branch, d_model=self.d_model, norm=self.norm, dropout=self.dropout, stochastic_depth=self.stochastic_depth
        )


class Block(nn.Module):
    """One layer of a transformer: tokens talk to each other, then each thinks by itself.

        x ──┬── attention ──(+)──┬── feedforward ──(+)── x
            └────────────────┘   └─────────────────┘

    Args:
        parts: what it is made from.
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.attention = parts.connect(parts.new_attention())
        self.feedforward = parts.connect(parts.new_feedforward())

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Passes tokens `[tokens, d_model]` through both connections."""
        x = self.attention(x, context)
        return self.feedforward(x, context)


class MixerBlock(nn.Module):
    """A layer whose mixer of tokens does all the work, without a feed-forward layer of its own
    ([Gu and Dao 2023](https://arxiv.org/abs/2312.00752), Mamba, 3.4).

        x ──┬── attention ──(+)── x
            └────────────────┘

    Args:
        parts: what it is made from; its feed-forward layer is not.

    Example:
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=8, n_layers=2, n_heads=2, block=MixerBlock)
        >>> [name for name, _ in core.blocks[0].named_children()]
        ['attention']
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.attention = parts.connect(parts.new_attention())

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Passes tokens `[tokens, d_model]` through the connection."""
        return self.attention(x, context)


class BareFirstBlock(Block):
    """`Block`, the first of which attends to its input as it comes, without a norm before it: for embedders that end in
    one ([Warner et al. 2024](https://arxiv.org/abs/2412.13663), ModernBERT, 2.1.1).

    Args:
        parts: what it is made from.

    Example:
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=8, n_layers=2, n_heads=2, block=BareFirstBlock)
        >>> [type(block.attention.norm).__name__ for block in core.blocks]
        ['Identity', 'LayerNorm']
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        if parts.layer == 0:
            self.attention.norm = nn.Identity()


class ParallelBlock(nn.Module):
    """Attention and feed-forward side by side behind one norm
    ([Wang and Komatsuzaki 2021](https://github.com/kingoflolz/mesh-transformer-jax), GPT-J;
    [Chowdhery et al. 2022](https://arxiv.org/abs/2204.02311), PaLM).

        x ──┬── attention + feedforward ──(+)── x
            └──────────────────────────────┘

    Args:
        parts: what it is made from.

    Example:
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=8, n_layers=2, n_heads=2, block=ParallelBlock)
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.both = parts.connect(_Sum(parts.new_attention(), parts.new_feedforward()))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Passes tokens `[tokens, d_model]` through both branches at once."""
        return self.both(x, context)


class ParallelNormsBlock(Block):
    """Attention and feed-forward side by side, each behind a norm of its own
    ([Black et al. 2022](https://arxiv.org/abs/2204.06745), GPT-NeoX; [Almazrouei et al.
    2023](https://arxiv.org/abs/2311.16867), Falcon 40B).

        x ──┬── attention ────(+)── x
            ├── feedforward ───┤
            └──────────────────┘

    Args:
        parts: what it is made from.

    Example:
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=8, n_layers=2, n_heads=2, block=ParallelNormsBlock)
    """

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Passes tokens `[tokens, d_model]` through both connections at once."""
        return self.attention(x, context) + self.feedforward.update(x, context)  # pyright: ignore[reportCallIssue]


class _Sum(nn.Module):
    """Two branches that read the same tokens."""

    def __init__(self, attention: nn.Module, feedforward: nn.Module) -> None:
        super().__init__()
        self.attention, self.feedforward = attention, feedforward

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.attention(x, context) + self.feedforward(x, context)


class CrossBlock(nn.Module):
    """A decoder's layer, which also reads a memory ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), figure 1).

        x ──┬── attention ──(+)──┬── cross ──(+)──┬── feedforward ──(+)── x
            └────────────────┘   └────────────┘   └─────────────────┘

    Args:
        parts: what it is made from.
        cross: makes cross-attention, called with `d_model`, `n_heads`, `n_kv_heads`.

    Example:
        >>> from omniformer.core.transformer import Transformer
        >>> Transformer(d_model=8, n_layers=2, n_heads=2, block=CrossBlock).reads_memory
        True
    """

    def __init__(self, parts: Parts, *, cross: Factory = CrossAttention) -> None:
        super().__init__()
        self.attention = parts.connect(parts.new_attention())
        self.cross = parts.connect(parts.new_attention(cross))
        self.feedforward = parts.connect(parts.new_feedforward())

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Passes tokens `[tokens, d_model]` through the three connections."""
        x = self.attention(x, context)
        x = self.cross(x, context)
        return self.feedforward(x, context)


class GatedCrossBlock(nn.Module):
    """A language model's layer with gated cross-attention before it ([Alayrac et al. 2022](https://arxiv.org/abs/2204.14198),
    Flamingo, figure 4). With both gates at zero, where they begin, it says exactly what the layer says alone.

        x ── gated cross ── gated feedforward ── attention ── feedforward ── x

    Args:
        parts: what it is made from.
        cross: makes cross-attention, called with `d_model`, `n_heads`, `n_kv_heads`.
        every: the gated pair stands before every so many layers, the first included; the others are a plain `Block`.

    Raises:
        ValueError: `every` is below 1.

    Example:
        >>> from functools import partial
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=8, n_layers=4, n_heads=2, block=partial(GatedCrossBlock, every=2))
        >>> [block.reads for block in core.blocks]
        [True, False, True, False]
    """

    def __init__(self, parts: Parts, *, cross: Factory = CrossAttention, every: Count = 1) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every={every} must be at least 1")
        self.reads = parts.layer % every == 0
        if self.reads:
            self.cross = parts.connect(parts.new_attention(cross), TanhGate)
            self.cross_feedforward = parts.connect(parts.new_feedforward(), TanhGate)
        self.attention = parts.connect(parts.new_attention())
        self.feedforward = parts.connect(parts.new_feedforward())

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Passes tokens `[tokens, d_model]` through the connections."""
        if self.reads:
            x = self.cross_feedforward(self.cross(x, context), context)
        return self.feedforward(self.attention(x, context), context)
