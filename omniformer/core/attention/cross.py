"""Cross-attention: queries from one sequence, keys and values from another."""

from collections.abc import Callable

from einops import rearrange
from torch import Tensor, nn

from omniformer.core.attention.multihead import Context, MultiHead
from omniformer.core.attention.reference import Score
from omniformer.core.init import linear_
from omniformer.core.projections import Projection, stack


class CrossAttention(MultiHead):
    """Multi-head attention to the tokens of a `Memory` ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762),
    3.2.3).

    A sample whose memory is empty collects nothing. With a cache the memory's keys and values are computed once.

    Args:
        d_model: width of the residual stream.
        n_heads: number of query heads.
        n_kv_heads: number of key and value heads; as many as query heads by default.
        d_memory: width of the memory's tokens; `d_model` by default.
        head_dim: features of a head; `d_model / n_heads` by default.
        bias: whether the projections have offsets.
        qk_norm: makes a norm for the queries and one for the keys of each head; none by default.
        score: a function of each scaled score, for example a soft cap.
        pair_bias: makes additive scores of this layer's own, called with `n_heads`; none by default.
        scale: factor of the scores; `1 / sqrt(head_dim)` by default.
        dropout: share of attention weights set to zero in training.

    Raises:
        ValueError: `n_heads` does not divide `d_model` (and no `head_dim` is given), or `n_kv_heads` does not divide
            `n_heads`; at first use, there is no memory or it has another width than `d_memory`.

    Example:
        >>> import torch
        >>> from omniformer.core.block import CrossBlock
        >>> from omniformer.core.layout import Layout
        >>> from omniformer.core.memory import Memory
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=8, n_layers=1, n_heads=2, block=CrossBlock)
        >>> memory = Memory(x=torch.randn(4, 8), layout=Layout.from_lengths(4, 0))
        >>> core(torch.randn(5, 8), Layout.from_lengths(2, 3), memory=memory).shape
        torch.Size([5, 8])
    """

    reads_memory = True

    def __init__(
        self,
        *,
        d_model: int,
        n_heads: int,
        n_kv_heads: int | None = None,
        d_memory: int | None = None,
        head_dim: int | None = None,
        bias: bool = True,
        qk_norm: Callable[[int], nn.Module] | None = None,
        score: Score | None = None,
        pair_bias: Callable[..., nn.Module] | None = None,
        scale: float | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            d_model=d_model,
            n_heads=n_heads,
            n_kv_heads=n_kv_heads,
            head_dim=head_dim,
            bias=bias,
            qk_norm=qk_norm,
            score=score,
            pair_bias=pair_bias,
            scale=scale,
            dropout=dropout,
        )
        self.d_memory = d_model if d_memory is None else d_memory
        self.q = nn.Linear(d_model, n_heads * self.head_dim, bias=bias)
        self.kv = nn.Linear(self.d_memory, 2 * self.n_kv_heads * self.head_dim, bias=bias)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Lets tokens `[tokens, d_model]` read the context's memory."""
        if context.memory is None or context.memory_plan is None:
            raise ValueError("cross-attention has nothing to read; call the core with memory=Memory(x=..., layout=...)")
        memory = context.memory.x
        q = self.q_norm(
            rearrange(self.q(x), "tokens (heads head_dim) -> tokens heads head_dim", head_dim=self.head_dim)
        )
        if context.cache is None:
            k, v = self.project_memory(memory)
        else:
            k, v = context.cache.once(lambda: self.project_memory(memory))
        return self.join(self.attend(q, k, v, context.memory_plan, None))

    def project_memory(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the memory's tokens.

        Shapes:
            `[memory tokens, d_memory]` → twice `[memory tokens, kv_heads, head_dim]`.
        """
        if memory.shape[-1] != self.d_memory:
            raise ValueError(
                f"the memory's tokens have {memory.shape[-1]} features, this cross-attention reads "
                f"d_memory={self.d_memory}"
            )
        heads = rearrange(self.kv(memory), "tokens (heads head_dim) -> tokens heads head_dim", head_dim=self.head_dim)
        k, v = heads.chunk(2, dim=1)
        return self.k_norm(k), v

    @property
    def projections(self) -> dict[str, Projection]:
        """`query` of the tokens, `key` and `value` of the memory, and `out`."""
        n_kv = self.n_kv_heads * self.head_dim
        return stack("q", query=self.q.out_features) | stack("kv", key=n_kv, value=n_kv) | super().projections

    def reset_parameters(self, std: float, output_std: float) -> None:
        """Draws the weights: `std` for the maps in, `output_std` for the map back onto the residual stream."""
        linear_(self.q, std)
        linear_(self.kv, std)
        linear_(self.out, output_std)
