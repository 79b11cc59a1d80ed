"""Attention of short samples as batched products: what is fastest on a CPU in bfloat16, and for some in float32."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from omniformer.core.by_hand import by_hand

# More keys than this are left to the fused kernel: the weights, which are kept between the passes, take memory.
_MOST_KEYS = 512
# A causal square is cut into at most so many blocks of at least so many queries, none of which reads keys behind it.
_MOST_BLOCKS, _LEAST_QUERIES = 4, 64
# PyTorch hands products of more than so many multiplications to oneDNN where float32 may be less precise.
_ONEDNN_FROM = 16**3


def prefers_products(q: Tensor, k: Tensor, *, causal: bool) -> bool:
    """Whether batched products and a softmax beat PyTorch's fused kernel here, on a CPU and up to 512 keys.

    Wherever that kernel is slow (`fused_is_slow`); and else in float32 for causal samples of 128 tokens and more, of
    which they leave out most of what no query reads (1.05 to 1.6 times as fast), and for 16 to 48 keys in heads of at
    most 32 features (1.0 to 1.3 times).

    Args:
        causal: whether query i attends to keys 0 to i alone.

    Shapes:
        q `[rows, heads, queries, head_dim]`, k `[rows, kv_heads, keys, head_dim]`.
    """
    if fused_is_slow(q, k):
        return True
    if not _in_float32(q):
        return False
    (queries, features), keys = q.shape[-2:], k.shape[-2]
    if causal:
        return 2 * _LEAST_QUERIES <= keys <= _MOST_KEYS
    return features <= 32 and queries >= 16 and 16 <= keys <= 48


def fused_is_slow(q: Tensor, k: Tensor) -> bool:
    """Whether PyTorch's fused kernel is slow here, on a CPU and up to 512 keys, with scores that something is added to
    as without.

    In bfloat16 both passes take it 1.8 to 8 times as long as products. Where float32 products may be less precise
    (`torch.set_float32_matmul_precision("medium")`), PyTorch asks oneDNN for each of its tiles by itself, which takes
    1.5 to 7 times as long, but for very small ones; other products are faster then. In compiled programs it stays.

    Shapes:
        as `prefers_products`.
    """
    if not q.is_cpu:
        return False
    if q.dtype == torch.bfloat16:
        return k.shape[-2] <= _MOST_KEYS
    if not _in_float32(q) or torch.get_float32_matmul_precision() != "medium":
        return False
    return k.shape[-2] <= _MOST_KEYS and q.shape[-2] * q.shape[-1] * k.shape[-2] > _ONEDNN_FROM


def _in_float32(q: Tensor) -> bool:
    """Whether to ask further: a compiled program must not depend on how long its example is, nor on what is set."""
    return q.is_cpu and q.dtype == torch.float32 and not torch.compiler.is_compiling()


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
    rows, kv_heads, _, _ = k.shape
    grouped = q.unflatten(1, (kv_heads, -1)).flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)
    if not dropout and by_hand(q, k, v):
        out: Any = _Products.apply(*grouped, scale, causal, mask)
    else:
        out = _attended(*grouped, scale, causal, mask, dropout)
    return out.view(rows, q.shape[1], q.shape[2], -1)


def _attended(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    causal: bool,
    mask: Tensor | None,
    dropout: float = 0.0,
    kept: list[Tensor] | None = None,
) -> Tensor:
    """What each query collects.

    Args:
        kept: takes the weights of each block, for a backward pass.

    Shapes:
        q `[rows * kv_heads, group, queries, head_dim]`, k and v `[rows * kv_heads, keys, head_dim]` → as q.
    """
    outs = []
    for start, end, seen in _blocks(q.shape[2], k.shape[1], causal):
        weights = _scores(q[:, :, start:end], k[:, :seen], scale, causal, mask).softmax(-1)
        if kept is not None:
            kept.append(weights)
        weights = functional.dropout(weights, dropout) if dropout else weights
        outs.append(torch.bmm(weights, v[:, :seen]).unflatten(1, (q.shape[1], -1)))
    return _joined(outs)


def _blocks(n_queries: int, n_keys: int, causal: bool) -> Iterator[tuple[int, int, int]]:
    """Where each block of queries starts and ends, and how many keys it may read."""
    if not causal:
        yield 0, n_queries, n_keys
        return
    size = max(-(-n_queries // _MOST_BLOCKS), _LEAST_QUERIES)
    for start in range(0, n_queries, size):
        end = min(start + size, n_queries)
        yield start, end, end


def _scores(q: Tensor, k: Tensor, scale: float, causal: bool, mask: Tensor | None) -> Tensor:
    """The scaled scores `[rows * kv_heads, group * queries, keys]` of one block, masked."""
    group, n_queries, n_keys = q.shape[1], q.shape[2], k.shape[1]
    added = _added(mask, causal, n_queries, n_keys, q)
    merged = q.flatten(1, 2)
    if added is None or len(added) > 1:
        scores = torch.baddbmm(q.new_zeros(()), merged, k.mT, beta=0, alpha=scale)
    else:
        scores = torch.baddbmm(added[0].repeat(1, group, 1), merged, k.mT, alpha=scale)
    if added is not None and len(added) > 1:
        heads = len(q) // len(added) * group  # a mask is one for all heads of a row
        scores.view(len(added), heads, n_queries, n_keys).add_(added)
    return scores


def _added(mask: Tensor | None, causal: bool, n_queries: int, n_keys: int, like: Tensor) -> Tensor | None:
    """What is added to the scores, `[rows or 1, 1, queries, keys]`."""
    if causal:  # the queries of a block are the last that its keys are of
        return like.new_full((1, 1, n_queries, n_keys), -torch.inf).triu(n_keys - n_queries + 1)
    if mask is None:
        return None
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(~mask, -torch.inf).expand(-1, -1, n_queries, -1)


class _Products(torch.autograd.Function):
    """The same with derivatives that are added up in place, block by block, where autograd would pad and add each.

    With weights w, output o = w v and its gradient g: dv = w^T g, and the gradient of a score is w (g v^T − g·o), of
    which the second term is one number for each query, so that the product itself takes it off.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool, mask: Tensor | None) -> Tensor:
        weights: list[Tensor] = []
        out = _attended(q, k, v, scale, causal, mask, kept=weights)
        ctx.scale, ctx.causal, ctx.mask = scale, causal, mask
        ctx.save_for_backward(q, k, v, out, *weights)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        q, k, v, out, *weights = ctx.saved_tensors
        if torch.is_grad_enabled():  # for derivatives of these, which autograd knows
            again = _attended(q, k, v, ctx.scale, ctx.causal, ctx.mask)
            return *torch.autograd.grad(again, (q, k, v), grad, create_graph=True), None, None, None
        taken_off = (grad * out).sum(-1, keepdim=True).neg_()
        of_k, of_v, of_q = torch.empty_like(k), torch.empty_like(v), []
        blocks = [*zip(_blocks(q.shape[2], k.shape[1], ctx.causal), weights, strict=True)]
        for (start, end, seen), w in reversed(blocks):  # the last one reads all keys, so that its sums are the first
            g, q_part = (each[:, :, start:end].flatten(1, 2) for each in (grad, q))
            beta = float(end < q.shape[2])
            of_scores = torch.baddbmm(taken_off[:, :, start:end].flatten(1, 2), g, v[:, :seen].mT).mul_(w)
            k_part, v_part = of_k[:, :seen], of_v[:, :seen]
            torch.baddbmm(v_part, w.mT, g, beta=beta, out=v_part)  # not in place: counters of operations know this one
            torch.baddbmm(k_part, of_scores.mT, q_part, beta=beta, alpha=ctx.scale, out=k_part)
            of_block = torch.baddbmm(q.new_zeros(()), of_scores, k[:, :seen], beta=0, alpha=ctx.scale)
            of_q.insert(0, of_block.unflatten(1, (q.shape[1], -1)))
        return _joined(of_q), of_k, of_v, None, None, None


def _joined(blocks: list[Tensor]) -> Tensor:
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, 2)
