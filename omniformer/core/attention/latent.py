"""Attention that remembers one short vector of each token, from which the keys and values of all heads are made."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.attention.multihead import Context, MultiHead
from omniformer.core.norm import RMSNorm
from omniformer.core.projections import Projection, stack
from omniformer.core.ranges import Count


class LatentAttention(MultiHead):
    """Multi-head latent attention ([DeepSeek-AI 2024](https://arxiv.org/abs/2405.04434), DeepSeek-V2, 2.1).

    Keys and values of all heads are linear in a latent vector of the token; positions turn features of their own, of
    which all heads share the keys. A cache keeps the latent and these keys, `kv_rank + rotated` numbers a token. With
    it, the map from latents to keys is moved to the queries, and that to values behind the softmax, so that they are
    never made for earlier tokens.

    Args:
        kv_rank: width of the latent vector; 512 in DeepSeek-V2.
        rotated: features of a head, beside `head_dim`, that rotary positions turn; 64 in DeepSeek-V2.
        q_rank: width of a latent vector of the queries; none by default: queries come from the token itself.
        norm: makes the norms of the latent vectors, called with a width.
        **heads: those of `MultiHead` apart from `n_kv_heads`, as every head has keys of its own, and `qk_norm`.

    Raises:
        ValueError: `n_kv_heads` is another number than `n_heads`, or a width is below 1.

    Example:
        >>> from functools import partial
        >>> from omniformer.core.layout import Layout
        >>> from omniformer.core.rotary import Rotary
        >>> from omniformer.core.transformer import Transformer
        >>> latent = partial(LatentAttention, kv_rank=6, rotated=2)
        >>> core = Transformer(d_model=16, n_layers=1, n_heads=4, attention=latent, rotary=Rotary)
        >>> core(torch.randn(3, 16), Layout.from_lengths(3)).shape, core.blocks[0].attention.branch.cached_per_token
        (torch.Size([3, 16]), 8)
    """

    not_exported = "it keeps a latent vector of each token where exported decoders keep keys and values"

    def __init__(
        self,
        *,
        n_heads: Count,
        n_kv_heads: Count | None = None,
        kv_rank: Count = 512,
        rotated: Count = 64,
        q_rank: Count | None = None,
        norm: Callable[[int], nn.Module] = RMSNorm,
        **heads: Any,
    ) -> None:
        if n_kv_heads not in (None, n_heads):
            raise ValueError(f"n_kv_heads={n_kv_heads}: every head has keys of its own here; leave it out")
        checks.counts(kv_rank=kv_rank, rotated=rotated, q_rank=q_rank)
        self.kv_rank, self.rotated, self.q_rank = kv_rank, rotated, q_rank
        super().__init__(n_heads=n_heads, qk_norm=None, **heads)
        width, offsets = n_heads * (self.head_dim + rotated), self._with_offsets
        self.q_down = nn.Identity() if q_rank is None else nn.Linear(self.d_model, q_rank, bias=offsets)
        self.q_latent_norm = nn.Identity() if q_rank is None else norm(q_rank)
        self.q = nn.Linear(self.d_model if q_rank is None else q_rank, width, bias=q_rank is None and offsets)
        self.kv_down = nn.Linear(self.d_model, kv_rank + rotated, bias=offsets)
        self.kv_latent_norm = norm(kv_rank)
        self.kv_up = nn.Linear(kv_rank, 2 * n_heads * self.head_dim, bias=False)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Mixes tokens `[tokens, d_model]` as the context's plan says."""
        q = self.q(self.q_latent_norm(self.q_down(x))).unflatten(-1, (self.n_heads, -1))
        plain, turned = q.split([self.head_dim, self.rotated], dim=-1)
        latent, key = self.kv_down(x).split([self.kv_rank, self.rotated], dim=-1)
        latent, key = self.kv_latent_norm(latent), key[:, None]
        if context.rotation is not None:
            turned, key = context.rotation(turned), context.rotation(key)
        if context.cache is None:
            return self.join(self._by_heads(plain, turned, latent, key, context))
        return self.join(self._by_latents(plain, turned, *context.cache.append(latent[:, None], key), context))

    def _by_heads(self, plain: Tensor, turned: Tensor, latent: Tensor, key: Tensor, context: Context) -> Tensor:
        """What the heads collect, each from keys and values of its own."""
        k, v = self.kv_up(latent).unflatten(-1, (self.n_heads, -1)).chunk(2, dim=-1)
        k = torch.cat([k, key.expand(-1, self.n_heads, -1)], dim=-1)
        return self.attend(torch.cat([plain, turned], dim=-1), k, v, context.plan, context.bias)

    def _by_latents(self, plain: Tensor, turned: Tensor, latents: Tensor, keys: Tensor, context: Context) -> Tensor:
        """The same, collected from the latent vectors, of which all heads have one and the same."""
        to_keys, to_values = self.kv_up.weight.unflatten(0, (self.n_heads, -1)).chunk(2, dim=1)
        q = torch.cat([torch.einsum("thd,hdr->thr", plain, to_keys), turned], dim=-1)
        collected = self.attend(q, torch.cat([latents, keys], dim=-1), latents, context.plan, context.bias)
        return torch.einsum("thr,hdr->thd", collected, to_values)

    @property
    def default_scale(self) -> float:
        return (self.head_dim + self.rotated) ** -0.5

    @property
    def rotated_width(self) -> int:
        return self.rotated

    @property
    def cached_per_token(self) -> int:
        return self.kv_rank + self.rotated

    @property
    def projections(self) -> dict[str, Projection]:
        down = {} if self.q_rank is None else stack("q_down", q_down=self.q_rank)
        kv = stack("kv_down", kv_down=self.kv_down.out_features) | stack("kv_up", kv_up=self.kv_up.out_features)
        return down | stack("q", query=self.q.out_features) | kv | super().projections
