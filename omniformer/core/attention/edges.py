"""Attention along edges: time and memory linear in the number of pairs, whatever the size of the graph."""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from omniformer.core.attention.kernel import Kernel, Score, Weighing
from omniformer.core.layout import Layout, View, lasting
from omniformer.core.rules import Rule


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Order:
    """Every (pair, head) as one number of a flat list, in the two orders that the sums run over.

    A graph of n nodes and h heads is handled as one of n·h nodes without heads, so that one sparse product serves all
    heads. Forward, the list is sorted by (query, head); backward, for the sums over a key, by (key, key head). Query
    heads that share a key head simply point at the same row: grouped keys are never copied.

    Shapes:
        row, col, by_key, query_of_key int64 `[pairs · heads]`; query_ends `[queries · heads + 1]`, key_ends
        `[keys · kv_heads + 1]`; place `[pairs, heads]`.
    """

    row: Tensor  # query · heads + head
    col: Tensor  # key · kv_heads + key head
    query_ends: Tensor
    by_key: Tensor  # where each element of the backward order stands in the forward order
    query_of_key: Tensor  # row[by_key]
    key_ends: Tensor
    place: Tensor  # where (pair, head) stands in the forward order


class _Pairs:
    """Pairs sorted by query, and the orders in which sums run over them, which all layers share."""

    def __init__(self, query: Tensor, key: Tensor) -> None:
        if len(query) and bool((query[1:] < query[:-1]).any()):
            order = torch.argsort(query, stable=True)
            query, key = query[order], key[order]
        self.query, self.key = query, key
        self.orders: dict[tuple[int, int], _Order] = {}


class Edges(Kernel):
    """Softmax attention over a list of (query, key) pairs, sorted by query.

    Any rule that can name its pairs (`Rule.pairs`), any bias and score. The backward pass is written by hand: between
    the passes only the weights are kept, one number for each pair and head, and every sum over pairs runs in a fixed
    order, so results are the same bit for bit from run to run. A score function takes a slower route, left to autograd.
    Pairs that follow from the edges alone are sorted once for as long as the tensor of edges lives.

    Raises:
        ValueError: the rule cannot name its pairs.
    """

    name = "edges"

    def __init__(self, rule: Rule, layout: Layout, key_layout: Layout) -> None:
        pairs = rule.pairs(layout) if layout is key_layout else None
        if pairs is None:
            raise ValueError(
                f"kernel 'edges' needs a rule that names its pairs, such as Neighbours, and queries and keys from "
                f"the same tokens; received {rule}"
            )
        self.layout = layout
        if rule.of_edges() and layout.edges is not None:
            self._pairs = layout.memo_of_graph(("edges", rule), lambda: _Pairs(*_within(layout, pairs)))
        else:
            allowed = rule.attend(View(layout, pairs[0]), View(layout, pairs[1])).expand_as(pairs[0])
            self._pairs = _Pairs(*_within(layout, pairs[:, allowed]))
        self.query, self.key = self._pairs.query, self._pairs.key

    def attend(self, q: Tensor, k: Tensor, v: Tensor, how: Weighing) -> Tensor:
        views = View(self.layout, self.query), View(self.layout, self.key)
        added = None if how.bias is None else how.bias(*views)
        if how.score is not None:
            return self._written_out(q, k, v, how.score, added, how)
        if added is not None:
            added = added.expand(q.shape[1], len(self.query))
        order = self._order(q.shape[1], k.shape[1])
        return _EdgeAttention.apply(q, k, v, added, order, how.scale, how.dropout)  # pyright: ignore[reportReturnType]

    def _written_out(
        self, q: Tensor, k: Tensor, v: Tensor, score: Score, added: Tensor | None, how: Weighing
    ) -> Tensor:
        """The same in differentiable operations, for a score function that only autograd knows how to derive."""
        v = v.repeat_interleave(q.shape[1] // v.shape[1], dim=1)
        scores = self._scores(q, k, score, added, how.scale)
        weights = functional.dropout(_segment_softmax(scores, self.query, len(q)), how.dropout)
        out = v.new_zeros(*q.shape[:2], v.shape[-1])
        return out.index_add(0, self.query, weights[..., None] * v.index_select(0, self.key))

    def lse(self, q: Tensor, k: Tensor, how: Weighing) -> Tensor:
        added = None if how.bias is None else how.bias(View(self.layout, self.query), View(self.layout, self.key))
        scores = self._scores(q, k, how.score, added, how.scale)
        top, _, total = _segment_exp(scores.to(torch.promote_types(q.dtype, torch.float32)), self.query, len(q))
        return torch.where(top.isneginf(), -torch.inf, top + total.where(~top.isneginf(), 1.0).log())

    def _scores(self, q: Tensor, k: Tensor, score: Score | None, added: Tensor | None, scale: float) -> Tensor:
        """The scores `[pairs, heads]`."""
        k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        scores = (q.index_select(0, self.query) * k.index_select(0, self.key)).sum(-1) * scale
        scores = scores if score is None else score(scores)
        return scores if added is None else scores + added.transpose(0, 1)

    def _order(self, n_heads: int, n_kv_heads: int) -> _Order:
        orders = self._pairs.orders
        if (n_heads, n_kv_heads) not in orders:
            with lasting():
                orders[n_heads, n_kv_heads] = _order(self.query, self.key, self.layout.n_tokens, n_heads, n_kv_heads)
        return orders[n_heads, n_kv_heads]


class _EdgeAttention(torch.autograd.Function):
    """Softmax over each query's pairs and the weighted sum of their values, with the derivatives written out.

    With e = exp(score − highest score), Z = Σ e over a query's pairs, kept share d (dropout) and output gradient g, and
    with G = g / Z: dv = Σ d e G; and, since Σ e d (G·v) over a query's pairs equals g·out, the gradient of a score is
    e (d (G·v) − G·out). So neither pass divides pair by pair, and e is all that is kept of them.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, added: Tensor | None, order: _Order, scale: float, dropout: float
    ) -> Tensor:
        dtype = torch.promote_types(q.dtype, torch.float32)
        q, k, v = (x.contiguous() for x in (q, k, v))  # copied once for both passes; what they were cut from may go
        scores = _pair_products(_rows(q, dtype), _rows(k, dtype), order, scale)
        if added is not None:
            scores.index_add_(0, order.place.flatten(), added.to(dtype).t().flatten())
        top = torch.segment_reduce(scores, "max", offsets=order.query_ends)
        exp = scores.sub_(_picked(top, order.row, order)).exp_()
        # The highest score of a query that has keys adds one: only a sum over nothing is less.
        total = _sums(exp, order).clamp_(min=1.0)
        kept = None if dropout == 0.0 else torch.empty_like(exp).bernoulli_(1 - dropout).div_(1 - dropout)
        weights = exp if kept is None else exp * kept
        out = _weighted_sums(_rows(v, dtype), order.col, order.query_ends, weights).div_(total[:, None])
        ctx.save_for_backward(q, k, v, exp, total, kept, out)
        ctx.order, ctx.scale, ctx.added_dtype = order, scale, None if added is None else added.dtype
        return out.to(q.dtype).view(*q.shape[:2], v.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        q, k, v, exp, total, kept, out = ctx.saved_tensors
        order: _Order = ctx.order
        g = _rows(grad, exp.dtype) / total[:, None]
        weights = exp if kept is None else exp * kept
        grad_v = _weighted_sums(g, order.query_of_key, order.key_ends, _picked(weights, order.by_key, order))
        grad_scores = _pair_products(g, _rows(v, exp.dtype), order, 1.0)
        if kept is not None:
            grad_scores.mul_(kept)
        grad_scores.sub_(_picked((g * out).sum(-1), order.row, order)).mul_(exp)
        grad_added = None
        if ctx.added_dtype is not None:
            grad_added = _picked(grad_scores, order.place.flatten(), order).view(order.place.shape)
            grad_added = grad_added.t().to(ctx.added_dtype)
        grad_scores.mul_(ctx.scale)
        grad_q = _weighted_sums(_rows(k, g.dtype), order.col, order.query_ends, grad_scores)
        turned = _picked(grad_scores, order.by_key, order)
        grad_k = _weighted_sums(_rows(q, g.dtype), order.query_of_key, order.key_ends, turned)
        grads = (x.view(like.shape).to(like.dtype) for x, like in ((grad_q, q), (grad_k, k), (grad_v, v)))
        return *grads, grad_added, None, None, None


def _rows(x: Tensor, dtype: torch.dtype) -> Tensor:
    """`[tokens, heads, head_dim]` as the rows of one table."""
    return x.detach().to(dtype).contiguous().view(-1, x.shape[-1])


def _pair_products(q: Tensor, k: Tensor, order: _Order, scale: float) -> Tensor:
    """The scaled inner product of each pair's rows.

    Shapes:
        q `[queries · heads, head_dim]`, k `[keys · kv_heads, head_dim]` → `[pairs · heads]`.
    """
    if q.device.type != "cpu" or not len(order.col):
        return (q.index_select(0, order.row) * k.index_select(0, order.col)).sum(-1).mul_(scale)
    # The compiler cannot look into sparse tensors; without it the call of an operator costs more than a small graph.
    products = _products_operator if torch.compiler.is_compiling() else _sampled_products
    return products(q, k, order.query_ends, order.col, scale)


def _sampled_products(q: Tensor, k: Tensor, ends: Tensor, col: Tensor, scale: float) -> Tensor:
    """The same on a CPU, reading the rows in place.

    That takes 3 ms where gathering them into cache-sized pieces takes 8 and gathering all takes 46 (2 CPU cores,
    200,000 pairs, 4 heads of 16).
    """
    products = q.new_zeros(len(col))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR tensor support is in beta|invariant checks)", UserWarning)
        pattern = torch.sparse_csr_tensor(ends, col, products, (len(q), len(k)), check_invariants=False)
        torch.sparse.sampled_addmm(pattern, q, k.t(), beta=0.0, alpha=scale, out=pattern)
    return products


_products_operator = torch.library.custom_op("omniformer::sampled_products", _sampled_products, mutates_args=())


@_products_operator.register_fake
def _(q: Tensor, k: Tensor, ends: Tensor, col: Tensor, scale: float) -> Tensor:
    return q.new_empty(len(col))


def _sums(numbers: Tensor, order: _Order) -> Tensor:
    """The sum of each query's numbers.

    Shapes:
        `[pairs · heads]` → `[queries · heads]`.
    """
    if numbers.device.type != "cpu":
        return torch.segment_reduce(numbers, "sum", offsets=order.query_ends)
    # Weighted sums of ones, which threads share, as they do not `segment_reduce`.
    ones = numbers.new_ones(len(order.query_ends) - 1, 1)
    return _weighted_sums(ones, order.row, order.query_ends, numbers).view(-1)


def _picked(numbers: Tensor, index: Tensor, order: _Order) -> Tensor:
    """`numbers[index]` for an index of every (pair, head)."""
    if numbers.device.type != "cpu":
        return numbers.index_select(0, index)
    # In as many rows as heads: threads share rows, and one of them would have a flat list to itself.
    n_heads = order.place.shape[1]
    return numbers.expand(n_heads, -1).gather(1, index.view(n_heads, -1)).view(-1)


def _weighted_sums(rows: Tensor, index: Tensor, ends: Tensor, weights: Tensor) -> Tensor:
    """`Σ weights · rows[index]` between consecutive ends.

    Shapes:
        rows `[n, head_dim]`; index and weights `[m]`; ends `[sums + 1]` → `[sums, head_dim]`.
    """
    if not len(index):
        return rows.new_zeros(len(ends) - 1, rows.shape[1])
    return functional.embedding_bag(index, rows, ends, mode="sum", per_sample_weights=weights, include_last_offset=True)


def _order(query: Tensor, key: Tensor, n_tokens: int, n_heads: int, n_kv_heads: int) -> _Order:
    device, group = query.device, n_heads // n_kv_heads
    pair, head = torch.arange(len(query), device=device), torch.arange(n_heads, device=device)
    start, degree = _starts(query, n_tokens)
    place = (pair + (n_heads - 1) * start[query])[:, None] + head * degree[query][:, None]
    ends = degree.repeat_interleave(n_heads)
    row = torch.arange(len(ends), device=device).repeat_interleave(ends, output_size=place.numel())
    col = _scattered(place, key[:, None] * n_kv_heads + head // group)

    turned = torch.argsort(key, stable=True)
    key = key.index_select(0, turned)
    key_start, key_degree = _starts(key, n_tokens)
    first = group * pair + (n_heads - group) * key_start[key]
    key_place = first[:, None] + head // group * group * key_degree[key][:, None] + head % group
    by_key = _scattered(key_place, place.index_select(0, turned))
    return _Order(
        row=row,
        col=col,
        query_ends=_ends(ends),
        by_key=by_key,
        query_of_key=row.index_select(0, by_key),
        key_ends=_ends((key_degree * group).repeat_interleave(n_kv_heads)),
        place=place,
    )


def _scattered(place: Tensor, values: Tensor) -> Tensor:
    """A flat list with each value at its place."""
    return torch.empty_like(place).view(-1).scatter_(0, place.view(-1), values.reshape(-1))


def _starts(sorted_tokens: Tensor, n_tokens: int) -> tuple[Tensor, Tensor]:
    """Where each token's pairs begin in a sorted list, and how many they are."""
    degree = torch.bincount(sorted_tokens, minlength=n_tokens)
    return _ends(degree)[:-1], degree


def _ends(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _within(layout: Layout, pairs: Tensor) -> Tensor:
    """The pairs of two tokens of one sample, `[2, pairs]`."""
    first, second = layout.sample[pairs]
    return pairs[:, first == second]


def _segment_softmax(scores: Tensor, segment: Tensor, n_segments: int) -> Tensor:
    """Softmax over the scores of each segment.

    Shapes:
        scores `[pairs, heads]`, segment int64 `[pairs]` → `[pairs, heads]`.
    """
    _, exp, total = _segment_exp(scores, segment, n_segments)
    return exp / total.index_select(0, segment)


def _segment_exp(scores: Tensor, segment: Tensor, n_segments: int) -> tuple[Tensor, Tensor, Tensor]:
    """The highest score of each segment, what each score's exponential is of that of the highest, and their sums.

    Shapes:
        scores `[pairs, heads]`, segment int64 `[pairs]` → `[segments, heads]`, `[pairs, heads]`, `[segments, heads]`.
    """
    index = segment[:, None].expand_as(scores)
    top = scores.new_full((n_segments, scores.shape[1]), -torch.inf).scatter_reduce(0, index, scores.detach(), "amax")
    exp = (scores - top.index_select(0, segment)).exp()
    return top, exp, torch.zeros_like(top).index_add(0, segment, exp)
