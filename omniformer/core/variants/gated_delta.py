"""The gated delta rule: a memory of one size, in which each token corrects what its key recalls."""

from typing import Any

import torch
from einops import einsum, rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core.attention.multihead import Context, SelfAttention
from omniformer.core.chunks import Chunks, chunks_of
from omniformer.core.init import linear_
from omniformer.core.norm import RMSNorm
from omniformer.core.projections import Projection, stack
from omniformer.core.ranges import Count
from omniformer.core.recurrence import draw_rates, in_float32, refuse_unless_causal
from omniformer.core.short_conv import ShortConv

# Tokens in a row: inside a row one triangular system is solved, from row to row one state is passed on.
_SIZE = 64


class GatedDelta(SelfAttention):
    """Gated DeltaNet ([Yang et al. 2024](https://arxiv.org/abs/2412.06464), figure 1), a mixer beside attention in
    hybrid stacks: time is linear in the length, and a decoder keeps a matrix for each head in place of keys and values.

    A head's matrix S forgets a share, then puts the token's value where its key recalled another one:
    `S = a S; S = S + b k (v - k S)^T`, with a (decay) and b (strength) between 0 and 1 computed of the token; it
    collects `q S`. Queries, keys and values go through a `ShortConv` and a SiLU first; queries and keys have length 1;
    what is collected is normalised and gated. Sums are float32 whatever the model's dtype. The order of tokens is its
    position: stacks with rotary positions give its layers none (`LayerKind(rotary=None)`). Only `Causal` is possible.

    Args:
        kernel: tokens that the convolution sees; 4 as published.
        **heads: those of `MultiHead`, apart from what is said of scores and their weights: there are none.

    Raises:
        ValueError: at first use, the rule is not `Causal()`, or there is a bias.

    Example:
        >>> from omniformer.core.layer_kinds import LayerKind
        >>> from omniformer.core.layout import Layout
        >>> from omniformer.core.rules import Causal
        >>> from omniformer.core.transformer import Transformer
        >>> kinds = {"delta": LayerKind(attention=GatedDelta, rotary=None), "full": LayerKind()}
        >>> core = Transformer(d_model=16, n_layers=3, n_heads=2, pattern=["delta", "delta", "full"], kinds=kinds)
        >>> core(torch.randn(5, 16), Layout.from_lengths(2, 3), Causal()).shape
        torch.Size([5, 16])
    """

    not_exported = "it carries a state over rows of tokens cut by the lengths at hand"

    def __init__(self, *, kernel: Count = 4, **heads: Any) -> None:
        super().__init__(**heads, qk_norm=None, score=None, pair_bias=None, scale=None, dropout=0.0)
        self.conv = ShortConv(self.qkv.out_features, kernel=kernel)
        self.rates = nn.Linear(self.d_model, 2 * self.n_kv_heads, bias=False)
        # Of each head: the logarithm of how fast it forgets, and how fast without a word of the token.
        self.log_rate, self.rate_bias = (nn.Parameter(torch.zeros(self.n_kv_heads)) for _ in range(2))
        self.norm, self.gate = RMSNorm(self.head_dim), self.map_in(self.n_heads)

    def collect(self, x: Tensor, context: Context) -> Tensor:
        """What the heads of each token collect, `[tokens, heads, head_dim]`."""
        cached = context.cache is not None
        refuse_unless_causal("the gated delta rule", context.plan, bias=self.biases(context.bias), cached=cached)
        state = context.cache.state if context.cache is not None else {}
        mixed, last = self.conv(self.qkv(x), context.plan.layout, state.get("tokens"))
        q, k, v = self.apart(F.silu(mixed)).split_with_sizes([self.n_heads, *[self.n_kv_heads] * 2], dim=1)
        with in_float32(x):
            q, k = (F.normalize(each.float(), dim=-1, eps=1e-6) for each in (q, k))
            log_decay, strength = self.decay_and_strength(x)
            chunks = chunks_of(context.plan.layout, _SIZE)
            out, after = gated_delta(
                q * self.head_dim**-0.5, k, v.float(), log_decay, strength, chunks, before=state.get("memory")
            )
        if context.cache is not None:
            state["tokens"], state["memory"] = last.detach(), after.detach()
        return self.norm(out.to(x.dtype)) * F.silu(self.apart(self.gate(x)))

    def decay_and_strength(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The logarithm of what a head keeps of its memory, and how far it corrects it.

        Shapes:
            `[tokens, d_model]` → float32 `[tokens, kv_heads]`, twice.
        """
        fast, strength = self.rates(x).float().chunk(2, dim=-1)
        return -self.log_rate.float().exp() * F.softplus(fast + self.rate_bias.float()), strength.sigmoid()

    @property
    def rotated_width(self) -> int | None:
        return None  # the order of tokens is its position

    @property
    def cached_per_token(self) -> int:
        return 0  # a matrix of one size takes the place of keys

    @property
    def projections(self) -> dict[str, Projection]:
        return super().projections | stack("gate", gate=self.gate.out_features)

    def draw_weights(self, std: float, output_std: float) -> None:
        """Draws the weights anew; steps of zero tokens lie between a thousandth and a tenth, and rates, by which they
        are multiplied, between 1 and 16, as published.
        """
        super().draw_weights(std, output_std)
        linear_(self.rates, std)
        self.conv.reset_parameters()
        draw_rates(self.log_rate, self.rate_bias)


def gated_delta(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    strength: Tensor,
    chunks: Chunks,
    *,
    before: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The recurrence `S = a S + b k (v - a k S)^T`, `out = q S`, sample by sample, a row of tokens at once
    ([Yang et al. 2024](https://arxiv.org/abs/2412.06464), 3.3); and the last matrices.

    Args:
        q: queries.
        k: keys, of length 1.
        v: values.
        log_decay: logarithm of a.
        strength: b.
        chunks: the samples in rows.
        before: the matrices that earlier tokens of each sample left; zeros by default.

    Shapes:
        q `[tokens, heads, features]`, k `[tokens, kv_heads, features]`, v `[tokens, kv_heads, head_dim]`, log_decay and
        strength `[tokens, kv_heads]` → `[tokens, heads, head_dim]`, and `[samples, kv_heads, features, head_dim]`, as
        before.
    """
    q = rearrange(q, "tokens (kv_heads group) features -> tokens kv_heads group features", kv_heads=k.shape[1])
    q, k, v, log_decay, strength = (chunks.rows(each).transpose(1, 2) for each in (q, k, v, log_decay, strength))
    age = log_decay.cumsum(-1)  # rows, heads, size: what is left of a row's beginning
    size = age.shape[-1]
    above = torch.ones(size, size, dtype=torch.bool, device=q.device).triu(1)
    kept = (age[..., :, None] - age[..., None, :]).masked_fill(above, -torch.inf).exp()
    # Each token corrects what the row's earlier tokens have put there: one triangular system a row.
    mixing = strength[..., None] * kept * (k @ k.transpose(-1, -2))
    wanted = strength[..., None] * torch.cat([v, k * age.exp()[..., None]], dim=-1)
    solved = torch.linalg.solve_triangular(mixing, wanted, upper=False, unitriangular=True)
    news, recalled = solved.split_with_sizes([v.shape[-1], k.shape[-1]], dim=-1)
    scores = einsum(q, k, "r h i g f, r h j f -> r h g i j") * kept[:, :, None]
    left = (age[..., -1:] - age).exp()[..., None] * k  # keys as old as they are at the row's end
    shape = (chunks.n_samples, k.shape[1], k.shape[-1], v.shape[-1])
    memory = q.new_zeros(shape) if before is None else before.to(q.dtype)
    outs, rows = q.new_zeros(*q.shape[:4], v.shape[-1]), []
    for wave in chunks.waves:
        sample = chunks.sample[wave]
        now = memory.index_select(0, sample)
        values = news[wave] - recalled[wave] @ now
        aged = q[wave] * age[wave].exp()[..., None, None]
        out = einsum(aged, now, "r h i g f, r h f d -> r h i g d")
        rows.append(out + einsum(scores[wave], values, "r h g i j, r h j d -> r h i g d"))
        after = now * age[wave][..., -1, None, None].exp() + left[wave].transpose(-1, -2) @ values
        memory = memory.index_copy(0, sample, after)
    if rows:
        outs = outs.index_copy(0, torch.cat(chunks.waves), torch.cat(rows))
    return chunks.packed(rearrange(outs, "rows kv_heads size group out -> rows size (kv_heads group) out")), memory
