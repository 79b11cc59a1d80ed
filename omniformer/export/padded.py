"""Padded batches as layouts, plans and caches that a tracer can follow: tensor operations alone, no number read back.

The core computes on packed tokens, with kernels chosen by the lengths at hand. A program that serves any batch cannot
choose: here every place of a padded rectangle counts as a token, and padding is masked inside attention and pooling.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from omniformer.core.attention.plan import Plan
from omniformer.core.attention.reference import Score, dense_attention
from omniformer.core.biases import Bias
from omniformer.core.layout import Layout, View
from omniformer.core.memory import Memory
from omniformer.core.rules import Rule

_ROWS = "samples kv_heads keys head_dim -> samples keys kv_heads head_dim"


def places(valid: Tensor) -> Tensor:
    """The place of each token in its sample, counted over tokens alone; padding stands where the token before it does.

    Shapes:
        valid bool `[batch, seq]` → int64 `[batch, seq]`.

    Example:
        >>> places(torch.tensor([[False, True, True, False]])).tolist()
        [[0, 0, 1, 1]]
    """
    return (valid.long().cumsum(1) - 1).clamp(min=0)


class TracedLayout(Layout):
    """A layout made of facts that are there already, unchecked: to check them would mean to read them.

    Args:
        **facts: fields of `Layout`, those included that it makes for itself; None, or none, for those not given.
    """

    __slots__ = ()

    def __init__(self, **facts: Any) -> None:
        absent = dict.fromkeys(field.name for field in fields(Layout))
        for name, value in {**absent, "features": {}, "pairs": {}, "_memo": {}, **facts}.items():
            object.__setattr__(self, name, value)

    @property
    def n_tokens(self) -> int:
        """The number of tokens, padding included."""
        return self.sample.shape[0]

    @property
    def n_samples(self) -> int:
        """The number of samples."""
        return self.lengths.shape[0]


class PaddedLayout(TracedLayout):
    """The rows of a padded batch as a layout: row after row, padding included, which `valid` tells from tokens.

    Rules and biases see the places and coordinates that they would see in a packed batch, whichever side padding is on.

    Args:
        valid: which places hold a token.
        index: the place of each token in its sample, where earlier ones wait in a cache; counted here by default.
        positions: coordinates of the tokens.
        modality: which modality each token comes from, as a number.
        prefix: how many leading tokens of each sample `Prefix` lets everybody see; none by default.

    Shapes:
        valid bool and index int64 `[batch, seq]`, positions `[batch * seq, axes]`, modality int64 `[batch * seq]`,
        prefix int64 `[batch]`.

    Example:
        >>> layout = PaddedLayout(torch.tensor([[True, True], [True, False]]))
        >>> layout.lengths.tolist(), layout.n_tokens
        ([2, 1], 4)
    """

    __slots__ = ("valid",)
    valid: Tensor

    def __init__(
        self,
        valid: Tensor,
        *,
        index: Tensor | None = None,
        positions: Tensor | None = None,
        modality: Tensor | None = None,
        prefix: Tensor | None = None,
    ) -> None:
        batch, seq = valid.shape
        row = torch.arange(batch, device=valid.device)
        lengths = valid.sum(1)
        object.__setattr__(self, "valid", valid)
        super().__init__(
            lengths=lengths,
            sample=row[:, None].expand(batch, seq).flatten(),
            index=(places(valid) if index is None else index).flatten(),
            offsets=torch.arange(batch + 1, device=valid.device) * seq,
            positions=positions,
            modality=modality,
            prefix=torch.zeros_like(lengths) if prefix is None else prefix,
            device=valid.device,
        )


def apart(x: Tensor, layout: PaddedLayout) -> tuple[Tensor, Layout]:
    """Padded tokens as heads know them: packed, with all padding behind them as one more sample.

    Shapes:
        x `[batch * seq, d_model]` → the same in another order, and a layout of `batch + 1` samples.

    Example:
        >>> layout = PaddedLayout(torch.tensor([[False, True], [True, True]]))
        >>> packed, layout = apart(torch.arange(4.0)[:, None], layout)
        >>> packed.flatten().tolist(), layout.lengths.tolist()
        ([1.0, 2.0, 3.0, 0.0], [1, 2, 1])
    """
    valid = layout.valid.flatten()
    padding = ~valid
    place = torch.where(valid, valid.long().cumsum(0) - 1, valid.sum() + padding.long().cumsum(0) - 1)
    token = torch.zeros_like(place).scatter(0, place, torch.arange(layout.n_tokens, device=place.device))
    lengths = torch.cat([layout.lengths, padding.sum()[None]])
    packed = TracedLayout(
        lengths=lengths,
        sample=torch.where(valid, layout.sample, layout.n_samples)[token],
        index=layout.index[token],
        offsets=torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]),
        positions=None if layout.positions is None else layout.positions[token],
        modality=None if layout.modality is None else layout.modality[token],
        device=layout.device,
    )
    return x[token], packed


class Padded:
    """Attention over the rows of padded batches, in one piece; every rule, bias and score that reads a token's place,
    coordinates or modality.

    A query that may attend to nothing yields zero, as in every kernel; so does padding that sees no token.

    Args:
        rule: who may attend to whom.
        layout: the rows of the queries.
        key_layout: the rows of the keys; row i is attended to from row i.
    """

    name = "padded"
    takes_rows = True

    def __init__(self, rule: Rule, layout: PaddedLayout, key_layout: PaddedLayout) -> None:
        self.queries, self.keys = layout.valid.shape, key_layout.valid.shape
        self.query, self.key = _view(layout)[:, :, None], _view(key_layout)[:, None, :]
        attend = rule.attend(self.query, self.key) & key_layout.valid[:, None, :]
        self.mask = attend[:, None]
        # Layers that share a bias share its numbers. The bias is kept too, so that its id stays its own.
        self._known: dict[int, tuple[Any, Tensor]] = {}

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        scale: float,
        bias: Bias | None = None,
        score: Score | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Attends; see `Plan.attend` for arguments and shapes."""
        added = self._bias(bias)
        q = rearrange(q.unflatten(0, self.queries), "samples queries heads head_dim -> samples heads queries head_dim")
        k, v = self._rows(k), self._rows(v)
        if score is not None:
            out = dense_attention(q, k, v, scale=scale, mask=self.mask, bias=added, score=score, dropout=dropout)
        else:
            out = self._fused(q, k, v, scale=scale, bias=added, dropout=dropout)
        return rearrange(out, "samples heads queries head_dim -> (samples queries) heads head_dim")

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, *, scale: float, bias: Tensor | None, dropout: float) -> Tensor:
        group = q.shape[1] // k.shape[1]
        if group > 1:
            k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        # The least finite number, not minus infinity: a softmax over nothing must not be NaN, which masks cannot undo.
        least = torch.finfo(q.dtype).min
        added = torch.where(self.mask, q.new_zeros(()) if bias is None else bias.to(q.dtype), least)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=added, scale=scale, dropout_p=dropout)
        return out * self.mask.any(-1, keepdim=True).to(out.dtype)

    def _bias(self, bias: Bias | None) -> Tensor | None:
        """The additive scores of all pairs, `[samples, heads, queries, keys]`."""
        if bias is None:
            return None
        if id(bias) not in self._known:
            pairs = bias(self.query, self.key)
            self._known[id(bias)] = (bias, rearrange(pairs, "heads samples queries keys -> samples heads queries keys"))
        return self._known[id(bias)][1]

    def _rows(self, keys: Tensor) -> Tensor:
        """Keys or values, packed or as rows of a cache, as `[samples, kv_heads, keys, head_dim]`."""
        keys = keys.unflatten(0, self.keys) if keys.ndim == 3 else keys
        return rearrange(keys, "samples keys kv_heads head_dim -> samples kv_heads keys head_dim")


def plan(rule: Rule, layout: PaddedLayout, key_layout: PaddedLayout | None = None) -> Plan:
    """A rule lowered for padded rows.

    Args:
        rule: who may attend to whom.
        layout: the rows of the queries.
        key_layout: the rows of the keys; the same by default.

    Example:
        >>> from omniformer.core.rules import Causal
        >>> plan(Causal(), PaddedLayout(torch.tensor([[True, True]]))).explain()
        "kernel 'padded' for Causal(): the program must serve batches of any lengths"
    """
    keys = layout if key_layout is None else key_layout
    reason = "the program must serve batches of any lengths"
    return Plan(rule=rule, layout=layout, key_layout=keys, kernel=Padded(rule, layout, keys), reason=reason)


class StepCache:
    """Keys and values of earlier tokens that come in as tensors, and go out again with those of new tokens behind them.

    It stands in the place of a `KVCache`, whose bookkeeping is the caller's: which tokens are real say the layouts.

    Args:
        layout: the new tokens.
        key_layout: all tokens, earlier ones first.
        keys: of the earlier tokens, for each layer.
        values: of the earlier tokens, for each layer.
        memory: keys and values of the memory, for each layer that reads one, by number of layer.

    Shapes:
        keys and values `[samples, kv_heads, past, head_dim]`; those of the memory the same, as long as it is.

    Example:
        >>> both, new = (PaddedLayout(torch.ones(1, n, dtype=torch.bool)) for n in (3, 1))
        >>> cache = StepCache(new, both, [torch.zeros(1, 2, 2, 4)], [torch.zeros(1, 2, 2, 4)])
        >>> k, v = cache.layers[0].append(torch.ones(1, 2, 4), torch.ones(1, 2, 4))
        >>> k.shape, cache.layers[0].keys.shape
        (torch.Size([1, 3, 2, 4]), torch.Size([1, 2, 3, 4]))
    """

    def __init__(
        self,
        layout: PaddedLayout,
        key_layout: PaddedLayout,
        keys: Sequence[Tensor],
        values: Sequence[Tensor],
        memory: Mapping[int, tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        self.layout, self.key_layout = layout, key_layout
        known = memory or {}
        self.layers = [StepLayer(layout, k, v, known.get(i)) for i, (k, v) in enumerate(zip(keys, values, strict=True))]

    def check(self, layout: Layout, n_layers: int) -> None:
        """Nothing to refuse: the program that made this cache made its layout too."""

    def plan(self, rule: Rule, *, kernel: str = "auto") -> Plan:
        """A rule lowered for the new tokens; there is one kernel for padded rows."""
        return plan(rule, self.layout, self.key_layout)

    def remember(self, memory: Memory | None) -> Memory | None:
        """The memory itself: nothing is kept here."""
        return memory


class StepLayer:
    """The keys and values of one layer, as a `StepCache` holds them.

    Args:
        layout: the new tokens.
        keys: of the earlier tokens; of all of them once `append` was called.
        values: the same.
        memory: keys and values of the memory, where the layer reads one.
    """

    def __init__(
        self, layout: PaddedLayout, keys: Tensor, values: Tensor, memory: tuple[Tensor, Tensor] | None = None
    ) -> None:
        self.layout, self.keys, self.values, self.memory = layout, keys, values, memory

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values, as rows; see `LayerCache.append`."""
        self.keys, self.values = self._grown(self.keys, k), self._grown(self.values, v)
        return rearrange(self.keys, _ROWS), rearrange(self.values, _ROWS)

    def once(self, compute: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """The memory's keys and values, as rows: they have come in, and are not computed."""
        assert self.memory is not None
        k, v = self.memory
        return rearrange(k, _ROWS), rearrange(v, _ROWS)

    def _grown(self, past: Tensor, new: Tensor) -> Tensor:
        rows = new.unflatten(0, self.layout.valid.shape)
        rows = rearrange(rows, "samples keys kv_heads head_dim -> samples kv_heads keys head_dim")
        return torch.cat([past, rows], dim=2)


class PaddedMemory(Memory):
    """A memory of which only keys and values are there, in a `StepCache`: as many rows as its layout has, of nothing.

    Args:
        layout: the rows of the memory.
    """

    def __init__(self, layout: PaddedLayout) -> None:
        super().__init__(x=torch.zeros(layout.n_tokens, 0, device=layout.device), layout=layout)

    def plan(self, layout: Layout, *, kernel: str = "auto") -> Plan:
        """The memory's rule lowered for padded rows that read it."""
        assert isinstance(layout, PaddedLayout)
        assert isinstance(self.layout, PaddedLayout)
        return plan(self.rule, layout, self.layout)


def _view(layout: PaddedLayout) -> View:
    """All places, as rows."""
    return layout.view(torch.arange(layout.n_tokens, device=layout.device).view(layout.valid.shape))
