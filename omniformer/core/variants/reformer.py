"""Reformer: tokens attend to those that fall into the same random bucket, in several rounds."""

from typing import Any

import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from omniformer.core.attention.multihead import Context, MultiHead
from omniformer.core.attention.plan import Plan
from omniformer.core.attention.reference import masked_softmax
from omniformer.core.biases import Bias
from omniformer.core.chunks import chunks_of
from omniformer.core.layout import Layout, View
from omniformer.core.projections import Projection, stack
from omniformer.core.ranges import Count, Seed
from omniformer.core.recurrence import in_float32, refuse

# Added to a token's score of itself, so that it attends to itself only where it may attend to nothing else.
_SELF = -1e5


class ReformerAttention(MultiHead):
    """Attention by locality-sensitive hashing ([Kitaev et al. 2020](https://arxiv.org/abs/2001.04451), section 2).

    Queries and keys are one projection, keys scaled to length 1, and a token attends to itself only where it may attend
    to nothing else. In each round every head sorts the tokens of a sample by a random bucket and then by place; a token
    sees those of its bucket that stand at most `chunk_size` places from it in that order. The union of the rounds gets
    one exact softmax (pairs that meet in several rounds count once), so with more rounds attention approaches the exact
    one. Time and memory are linear in each sample's length.

    The paper lets a token see its own chunk and the one before. Counting places instead makes the choice independent of
    later tokens, so causality is exact. Every rule and bias is evaluated on the pairs that meet.

    Args:
        n_kv_heads: as many as heads, because keys are the queries.
        qk_norm: makes a norm for the queries, which are the keys, of each head; none by default.
        scale: factor of the scores; 1 by default, since keys have length 1.
        n_rounds: rounds of hashing; 4, where the paper's quality comes close to exact attention.
        n_buckets: buckets of a round; about `seq_len / chunk_size` suits. Even, because directions come in pairs.
        chunk_size: how far a token looks in the sorted order, to either side; 64 as in the paper.
        seed: of the random directions; None gives each layer its own, from PyTorch's global generator.
        **heads: those of `MultiHead`, all of them.

    Raises:
        ValueError: `n_kv_heads` differs from `n_heads`; `n_buckets` is odd; a number is less than 1; at first use,
            there is a cache.

    Example:
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=16, n_layers=1, n_heads=2, attention=ReformerAttention)
        >>> core(torch.randn(5, 16), Layout.from_lengths(2, 3)).shape
        torch.Size([5, 16])
    """

    not_exported = "it chunks, hashes or sums tokens by the lengths at hand"

    def __init__(
        self,
        *,
        n_rounds: Count = 4,
        n_buckets: Count = 16,
        chunk_size: int = 64,
        seed: Seed | None = None,
        **heads: Any,
    ) -> None:
        super().__init__(**heads)
        if self.n_kv_heads != self.n_heads:
            raise ValueError(
                f"n_kv_heads={self.n_kv_heads} must be n_heads={self.n_heads}: in Reformer attention queries are the "
                "keys"
            )
        if n_buckets < 2 or n_buckets % 2 or n_rounds < 1 or chunk_size < 1:
            raise ValueError(
                f"n_buckets={n_buckets} must be even and at least 2, "
                f"n_rounds={n_rounds} and chunk_size={chunk_size} at least 1"
            )
        self.k_norm = nn.Identity()  # keys are the queries, normalised already
        self.chunk_size = chunk_size
        self.qk_v = self.map_in(2 * self.n_heads)
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        shape = (n_rounds, self.n_heads, self.head_dim, n_buckets // 2)
        self.register_buffer("directions", torch.randn(shape, generator=generator, device="cpu"))
        self.directions: Tensor

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Mixes tokens `[tokens, d_model]`."""
        refuse("Reformer attention", context.plan)
        qk, v = self.apart(self.qk_v(x)).chunk(2, dim=1)
        qk = self.q_norm(qk)
        if context.rotation is not None:
            qk = context.rotation(qk)
        return self.join(self.attend(qk, qk, v, context.plan, context.bias))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: Plan, bias: Bias | None) -> Tensor:
        qk, v = (rearrange(heads, "tokens heads head_dim -> heads tokens head_dim") for heads in (q, v))
        with in_float32(q):
            mixed = self._all_rounds(qk, v, plan, self.biases(bias)).to(v.dtype)
        return rearrange(mixed, "heads tokens head_dim -> tokens heads head_dim")

    def _all_rounds(self, qk: Tensor, v: Tensor, plan: Plan, bias: Bias | None) -> Tensor:
        """One softmax over the pairs of all rounds.

        Shapes:
            `[heads, tokens, head_dim]` → the same.
        """
        sides = (self.chunk_size, 0 if plan.rule.reach().right == 0 else self.chunk_size)
        rounds = [_Round(bucket, plan.layout, sides) for bucket in self.buckets(qk)]
        parts = [self._softmax(qk, v, here, rounds, plan, bias) for here in rounds]
        outs, totals = torch.stack([out for out, _ in parts]), torch.stack([total for _, total in parts])
        # Each round's softmax is weighted by its share of the joint denominator.
        alive = (totals > -torch.inf).any(0)
        share = torch.where(alive, totals, 0.0).softmax(0) * alive
        return (share[..., None] * outs).sum(0)

    @torch.no_grad()
    def buckets(self, qk: Tensor) -> Tensor:
        """The bucket of each token: which of some random directions, or their opposites, it points along most.

        Shapes:
            `[heads, tokens, head_dim]` → int64 `[rounds, heads, tokens]`.
        """
        along = einsum(
            qk.float(),
            self.directions.float(),
            "heads tokens head_dim, rounds heads head_dim directions -> rounds heads tokens directions",
        )
        return torch.cat([along, -along], dim=-1).argmax(-1)

    @property
    def default_scale(self) -> float:
        return 1.0

    @property
    def rotated_width(self) -> int:
        return self.head_dim

    @property
    def projections(self) -> dict[str, Projection]:
        n = self.n_heads * self.head_dim
        return stack("qk_v", query=n, value=n) | super().projections

    def _softmax(
        self, qk: Tensor, v: Tensor, here: "_Round", rounds: "list[_Round]", plan: Plan, bias: Bias | None
    ) -> tuple[Tensor, Tensor]:
        """One round's softmax, and the logarithm of its denominator.

        Shapes:
            `[heads, tokens, head_dim]`, `[heads, tokens]`.
        """
        query, key = here.query, here.key
        view, key_view = plan.layout.view(query[..., :, None]), plan.layout.view(key[..., None, :])
        allowed = here.meet(query, key) & here.real & plan.rule.attend(view, key_view)
        k = nn.functional.normalize(qk.float(), dim=-1)
        scores = _take(qk.float(), query) @ _take(k, key).transpose(-1, -2) * self.scale
        if self.score is not None:
            scores = self.score(scores)
        if bias is not None:
            scores = scores + _bias_of_own_head(bias, view, key_view, self.n_heads)
        times = torch.stack([other.meet(query, key) for other in rounds]).sum(0).clamp_min(1)
        scores = scores + (view.token == key_view.token) * _SELF - times.log()
        weights = nn.functional.dropout(masked_softmax(scores, allowed), self.dropout, self.training)
        total = scores.masked_fill(~allowed, -torch.inf).logsumexp(-1, keepdim=True)
        return here.unsorted(weights @ _take(v.float(), key)), here.unsorted(total)[..., 0]


class _Round:
    """One round of hashing: tokens sorted by sample, bucket and place, and cut into rows.

    Args:
        bucket: of each token, for each head.
        layout: the samples.
        sides: how many places before and after its own a token looks.

    Shapes:
        bucket int64 `[heads, tokens]`. Made from it: query int64 `[heads, rows, size]`; key int64 `[heads, rows,
        keys]`; real bool `[rows, 1, keys]`, False for keys beyond the ends of the sample.
    """

    def __init__(self, bucket: Tensor, layout: Layout, sides: tuple[int, int]) -> None:
        self.reach, (before, after) = sides[0], sides
        self.chunks = chunks_of(layout, before)
        self.code = bucket * max(layout.n_samples, 1) + layout.sample
        # Bucket within sample; the sort is stable, so places within a bucket stay in order.
        by_bucket = bucket.argsort(dim=-1, stable=True)
        order = by_bucket.gather(-1, layout.sample[by_bucket].argsort(dim=-1, stable=True))
        self.rank = torch.empty_like(order).scatter_(
            -1, order, torch.arange(layout.n_tokens, device=order.device).expand_as(order)
        )
        self.query = order[:, self.chunks.token]
        place = self.chunks.token[:, :1] + torch.arange(-before, before + after, device=order.device)
        first, last = (layout.offsets[self.chunks.sample + step][:, None] for step in (0, 1))
        self.real = ((place >= first) & (place < last))[:, None, :]
        self.key = order[:, torch.minimum(torch.maximum(place, first), last - 1)]

    def meet(self, query: Tensor, key: Tensor) -> Tensor:
        """Whether tokens share a bucket and stand near each other in it.

        Shapes:
            `[heads, rows, queries]`, `[heads, rows, keys]` → bool `[heads, rows, queries, keys]`.
        """
        codes, ranks = (
            [_take(x[..., None], tokens)[..., 0] for tokens in (query, key)] for x in (self.code, self.rank)
        )
        near = (ranks[0][..., :, None] - ranks[1][..., None, :]).abs() <= self.reach
        return near & (codes[0][..., :, None] == codes[1][..., None, :])

    def unsorted(self, rows: Tensor) -> Tensor:
        """Rows `[heads, rows, size, ...]` back in the order of tokens `[heads, tokens, ...]`."""
        places = rows.flatten(1, 2).index_select(1, self.chunks.place)
        return _take(places, self.rank)


def _take(x: Tensor, index: Tensor) -> Tensor:
    """Each head's rows by number.

    Shapes:
        x `[heads, tokens, features]`, index int64 `[heads, ...]` → `[heads, ..., features]`.
    """
    first = torch.arange(len(x), device=x.device).view(-1, *[1] * (index.ndim - 1)) * x.shape[1]
    return x.flatten(0, 1).index_select(0, (index + first).flatten()).unflatten(0, index.shape)


def _bias_of_own_head(bias: Bias, query: View, key: View, n_heads: int) -> Tensor:
    """Each head's bias on the pairs that met in that head.

    Shapes:
        views of pairs `[heads, rows, queries, keys]` → the same.
    """
    added = bias(query, key)
    return torch.diagonal(added.expand(n_heads, *added.shape[1:]), dim1=0, dim2=1).movedim(-1, 0)
