"""Cross-attention: queries from one sequence, keys and values from another."""

from typing import Any

from torch import Tensor

from omniformer.core import checks
from omniformer.core.attention.multihead import Context, MultiHead
from omniformer.core.projections import Projection, stack


class CrossAttention(MultiHead):
    """Multi-head attention to the tokens of a `Memory` ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762),
    3.2.3).

    A sample whose memory is empty collects nothing. With a cache the memory's keys and values are computed once.

    Args:
        d_memory: width of the memory's tokens; `d_model` by default.
        **heads: those of `MultiHead`, all of them.

    Raises:
        ValueError: at first use, there is no memory or it has another width than `d_memory`.

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

    def __init__(self, *, d_memory: int | None = None, **heads: Any) -> None:
        super().__init__(**heads)
        checks.counts(d_memory=d_memory)
        self.d_memory = self.d_model if d_memory is None else d_memory
        self.q, self.kv = self.map_in(self.n_heads), self.map_in(2 * self.n_kv_heads, self.d_memory)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Lets tokens `[tokens, d_model]` read the context's memory."""
        if context.memory is None or context.memory_plan is None:
            raise ValueError("cross-attention has nothing to read; call the core with memory=Memory(x=..., layout=...)")
        memory = context.memory.x
        q = self.q_norm(self.apart(self.q(x)))
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
        k, v = self.apart(self.kv(memory)).chunk(2, dim=1)
        return self.k_norm(k), v

    @property
    def projections(self) -> dict[str, Projection]:
        n_kv = self.n_kv_heads * self.head_dim
        return stack("q", query=self.q.out_features) | stack("kv", key=n_kv, value=n_kv) | super().projections
