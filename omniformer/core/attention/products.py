"""Attention of short samples as two batched products: what is fastest in bfloat16 on a CPU."""

import torch
from torch import Tensor
from torch.nn import functional


def prefers_products(q: Tensor, k: Tensor) -> bool:
    """Whether products and a softmax beat PyTorch's fused kernel here: in bfloat16 on a CPU.

    Measured on 2 CPU cores with AVX-512 bf16, forward and backward: at 64 tokens the fused kernel takes 4 times as
    long, from 256 to 1,024 twice. Beyond 512 keys the weights, which are kept between the passes, would take too much
    memory. In float32 the fused kernel is 1.1 to 1.2 times as fast.
    """
    return q.device.type == "cpu" and q.dtype == torch.bfloat16 and k.shape[-2] <= 512


def attention_by_products(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float,
    mask: Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
) -> Tensor:
    """Attention over rows of tokens; what a mask leaves out is added to the product as minus infinity.

    Args:
        q: queries.
        k: keys; a head of them serves as many neighbouring query heads as there are for each.
        v: values.
        scale: factor of the scores, taken by the product itself.
        mask: who attends to whom; every query must have a key.
        causal: whether query i attends to keys 0 to i alone; there is no mask then.
        dropout: share of attention weights set to zero.

    Shapes:
        q `[rows, heads, queries, head_dim]`, k and v `[rows, kv_heads, keys, head_dim]`, mask bool `[rows or 1, 1,
        queries or 1, keys]` → `[rows, heads, queries, head_dim]`.

    Example:
        >>> attention_by_products(*torch.randn(3, 2, 4, 5, 8), scale=1.0, causal=True).shape
        torch.Size([2, 4, 5, 8])
    """
    rows, kv_heads, n_keys, _ = k.shape
    group, n_queries = q.shape[1] // kv_heads, q.shape[2]
    q, k, v = q.reshape(rows * kv_heads, group * n_queries, -1), k.flatten(0, 1), v.flatten(0, 1)
    added = _added(mask, causal, n_queries, n_keys, q)
    if added is None or len(added) > 1:
        scores = torch.baddbmm(q.new_zeros(()), q, k.mT, beta=0, alpha=scale)
    else:
        scores = torch.baddbmm(added[0].repeat(1, group, 1), q, k.mT, alpha=scale)
    if added is not None and len(added) > 1:
        scores.view(rows, kv_heads * group, n_queries, n_keys).add_(added)
    weights = functional.dropout(scores.softmax(-1), dropout)
    return torch.bmm(weights, v).view(rows, kv_heads * group, n_queries, -1)


def _added(mask: Tensor | None, causal: bool, n_queries: int, n_keys: int, like: Tensor) -> Tensor | None:
    """What is added to the scores, `[rows or 1, 1, queries, keys]`."""
    if causal:
        return like.new_full((1, 1, n_queries, n_keys), -torch.inf).triu(1)
    if mask is None:
        return None
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(~mask, -torch.inf).expand(-1, -1, n_queries, -1)
