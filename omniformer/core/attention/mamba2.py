"""Mamba-2: a state of one size that each token lets fade and adds to."""

from typing import Any

import torch
from einops import einsum
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.attention.multihead import Context, MultiHead
from omniformer.core.chunks import Chunks, chunks_of
from omniformer.core.norm import GroupRMSNorm
from omniformer.core.projections import Projection, stack
from omniformer.core.ranges import Count, NotNegative, Positive
from omniformer.core.recurrence import draw_rates, in_float32, refuse_unless_causal, wide
from omniformer.core.short_conv import ShortConv

# Tokens in a row: inside a row there is a matrix of pairs, from row to row one state is passed on.
_SIZE = 64


class Mamba2(MultiHead):
    """Mamba-2 ([Dao and Gu 2024](https://arxiv.org/abs/2405.21060), 7.1 and figure 6), a mixer of tokens in place of
    attention or beside it in hybrid stacks: time is linear in the length, and a decoder keeps a matrix for each head.

    A head's state S fades and takes in the token: `S = exp(-rate step) S + step key value^T`; it collects `query S`,
    and its own value times a learned number. Keys, queries and values (B, C and x in the paper) go through a
    `ShortConv` and a SiLU; heads of a group share keys and queries; steps are computed of the token. What all heads
    collect is gated and normalised. The state is computed in float32 whatever the model's dtype, in float64 where that
    is the model's. The order of tokens is its position: stacks with rotary positions give its layers none
    (`LayerKind(rotary=None)`). Only `Causal` is possible.

    Args:
        state_size: numbers that a key and a query have; 128 as published.
        n_groups: groups of heads, each with keys and queries of its own.
        kernel: tokens that the convolution sees; 4 as published.
        conv_bias: whether the convolution has offsets.
        least_step: the shortest step of a token.
        most_step: the longest; None for no limit.
        eps: of the norm; 1e-5 as published.
        head_dim: features of a head; by default all heads together are twice as wide as the stream, as published.
        **heads: those of `MultiHead`, apart from what is said of scores and their weights: there are none. There are
            as many key heads as heads, which share them in groups.

    Raises:
        ValueError: `n_groups` does not divide `n_heads`, or `n_kv_heads` differs from `n_heads`; at first use, the rule
            is not `Causal()`, or there is a bias.

    Example:
        >>> from functools import partial
        >>> from omniformer.core.block import MixerBlock
        >>> from omniformer.core.layout import Layout
        >>> from omniformer.core.rules import Causal
        >>> from omniformer.core.transformer import Transformer
        >>> mixer = partial(Mamba2, state_size=8)
        >>> core = Transformer(d_model=16, n_layers=2, n_heads=4, attention=mixer, block=MixerBlock)
        >>> core(torch.randn(5, 16), Layout.from_lengths(2, 3), Causal()).shape
        torch.Size([5, 16])
    """

    not_exported = "it carries a state over rows of tokens cut by the lengths at hand"

    def __init__(
        self,
        *,
        d_model: Count,
        n_heads: Count,
        n_kv_heads: Count | None = None,
        head_dim: Count | None = None,
        bias: bool = False,
        state_size: Count = 128,
        n_groups: Count = 1,
        kernel: Count = 4,
        conv_bias: bool = True,
        least_step: NotNegative = 0.0,
        most_step: Positive | None = None,
        eps: Positive = 1e-5,
        **heads: Any,
    ) -> None:
        checks.counts(state_size=state_size, n_groups=n_groups, n_heads=n_heads)
        if n_heads % n_groups or n_kv_heads not in (None, n_heads):
            raise ValueError(
                f"n_groups={n_groups} must divide n_heads={n_heads}, and n_kv_heads={n_kv_heads} must be the same: "
                "groups share keys here"
            )
        if head_dim is None and not 2 * d_model % n_heads:
            head_dim = 2 * d_model // n_heads
        none: dict[str, Any] = {"qk_norm": None, "score": None, "pair_bias": None, "scale": None, "dropout": 0.0}
        super().__init__(d_model=d_model, n_heads=n_heads, head_dim=head_dim, bias=bias, **heads, **none)
        self.inner, self.shared = n_heads * self.head_dim, n_groups * state_size
        self.n_groups, self.state_size = n_groups, state_size
        self.least_step, self.most_step = least_step, most_step
        self.maps = nn.Linear(d_model, 2 * self.inner + 2 * self.shared + n_heads, bias=bias)
        self.conv = ShortConv(self.inner + 2 * self.shared, kernel=kernel, bias=conv_bias)
        # Of each head: the logarithm of how fast it forgets, and the step without a word of the token.
        self.log_rate, self.step_bias = (nn.Parameter(torch.zeros(n_heads)) for _ in range(2))
        self.skip = nn.Parameter(torch.ones(n_heads))
        self.norm = GroupRMSNorm(self.inner, n_groups=n_groups, eps=eps)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Mixes tokens `[tokens, d_model]`; with a cache, carries on from the state that earlier tokens left there."""
        refuse_unless_causal("Mamba-2", context.plan, bias=self.biases(context.bias), cached=context.cache is not None)
        state = {} if context.cache is None else context.cache.state
        gate, taken, step = self.maps(x).split([self.inner, self.inner + 2 * self.shared, self.n_heads], dim=1)
        mixed, last = self.conv(taken, context.plan.layout, state.get("tokens"))
        with in_float32(x):
            values, keys, queries = wide(F.silu(mixed)).split([self.inner, self.shared, self.shared], dim=1)
            values = self.apart(values)
            keys, queries = (each.unflatten(1, (self.n_groups, self.state_size)) for each in (keys, queries))
            step = F.softplus(wide(step) + wide(self.step_bias)).clamp(self.least_step, self.most_step)
            out, after = state_space(
                queries,
                keys,
                values * step[..., None],
                -wide(self.log_rate).exp() * step,
                chunks_of(context.plan.layout, _SIZE),
                before=state.get("memory"),
            )
            out = (out + values * wide(self.skip)[:, None]).flatten(1) * F.silu(wide(gate))
        if context.cache is not None:
            state["tokens"], state["memory"] = last.detach(), after.detach()
        return self.out(self.norm(out).to(x.dtype))

    @property
    def projections(self) -> dict[str, Projection]:
        rows = {"gate": self.inner, "value": self.inner, "key": self.shared, "query": self.shared}
        return stack("maps", **rows, step=self.n_heads) | super().projections

    def draw_weights(self, std: float, output_std: float) -> None:
        """Draws the weights anew, rates and steps as published."""
        super().draw_weights(std, output_std)
        self.conv.reset_parameters()
        draw_rates(self.log_rate, self.step_bias)
        nn.init.ones_(self.skip)
        self.norm.reset_parameters()


def state_space(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, chunks: Chunks, *, before: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The recurrence `S = exp(log_decay) S + k v^T`, `out = q S`, sample by sample, a row of tokens at once
    ([Dao and Gu 2024](https://arxiv.org/abs/2405.21060), 6); and the last states.

    Args:
        q: queries, C in the paper.
        k: keys, B in the paper.
        v: values, x times its step in the paper.
        log_decay: logarithm of what is left of a state.
        chunks: the samples in rows.
        before: the states that earlier tokens of each sample left; zeros by default.

    Shapes:
        q and k `[tokens, groups, state_size]`, v `[tokens, heads, head_dim]`, log_decay `[tokens, heads]` → `[tokens,
        heads, head_dim]`, and `[samples, heads, state_size, head_dim]`, as before.
    """
    groups = q.shape[1]
    v, log_decay = v.unflatten(1, (groups, -1)), log_decay.unflatten(1, (groups, -1))
    q, k, v, log_decay = (chunks.rows(each) for each in (q, k, v, log_decay))
    age = log_decay.cumsum(1)  # rows, size, groups, heads of a group: what is left of a row's beginning
    size = age.shape[1]
    above = torch.ones(size, size, dtype=torch.bool, device=q.device).triu(1)
    by_head = age.movedim(1, -1)
    kept = (by_head[..., :, None] - by_head[..., None, :]).masked_fill(above, -torch.inf).exp()
    pairs = einsum(q, k, "r i g n, r j g n -> r g i j")[:, :, None] * kept
    out = einsum(pairs, v, "r g h i j, r j g h p -> r i g h p")
    news = einsum(k, v * (age[:, -1:] - age).exp()[..., None], "r s g n, r s g h p -> r g h n p")
    states, after = _carried(news, age[:, -1].exp(), chunks, before)
    out = out + einsum(q, states, "r i g n, r g h n p -> r i g h p") * age.exp()[..., None]
    return chunks.packed(out.flatten(2, 3)), after


def _carried(news: Tensor, left: Tensor, chunks: Chunks, before: Tensor | None) -> tuple[Tensor, Tensor]:
    """The state at the beginning of each row, and behind the last one of each sample.

    Shapes:
        news `[rows, groups, heads of a group, state_size, head_dim]`, left `[rows, groups, heads of a group]` → as
        news, and `[samples, heads, state_size, head_dim]`, as before.
    """
    shape = (chunks.n_samples, *news.shape[1:])
    state = news.new_zeros(shape) if before is None else before.to(news.dtype).view(shape)
    found = []
    for wave in chunks.waves:
        sample = chunks.sample[wave]
        now = state.index_select(0, sample)
        found.append(now)
        state = state.index_copy(0, sample, now * left[wave][..., None, None] + news[wave])
    if found:
        news = torch.zeros_like(news).index_copy(0, torch.cat(chunks.waves), torch.cat(found))
    return news, state.flatten(1, 2)
