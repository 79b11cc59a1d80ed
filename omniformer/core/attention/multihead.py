"""Multi-head attention as a layer: projections in, a plan's kernel, projection out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.attention.kernel import Score
from omniformer.core.attention.plan import Plan
from omniformer.core.biases import Bias
from omniformer.core.cache import LayerCache
from omniformer.core.distances import Distances
from omniformer.core.init import linear_
from omniformer.core.layout import View
from omniformer.core.memory import Memory
from omniformer.core.projections import Projection, stack
from omniformer.core.ranges import BelowOne, Count, NotNegative
from omniformer.core.rotary import Rotation


@dataclass(slots=True, kw_only=True, eq=False)
class Report:
    """What parts leave behind in one pass: for later layers, for the task, and for probing.

    Args:
        first_values: the values of the first layer, for layers that mix them into theirs.
        losses: auxiliary losses by name, weighted already, one for each layer that has any.
        stages: what there is to look at, by name.
    """

    first_values: Tensor | None = None
    losses: dict[str, list[Tensor]] = field(default_factory=dict)
    stages: dict[str, Tensor] = field(default_factory=dict)

    def add_losses(self, **losses: Tensor) -> None:
        """Takes the auxiliary losses of one layer."""
        for name, loss in losses.items():
            self.losses.setdefault(name, []).append(loss)

    def mean_losses(self) -> dict[str, Tensor]:
        """Each auxiliary loss as the mean over layers."""
        return {name: torch.stack(values).mean() for name, values in self.losses.items()}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context:
    """What a block may read apart from its tokens; one object, made once per batch.

    Args:
        plan: who attends to whom, lowered for this batch.
        layer: number of the block, counted from 0.
        rotation: rotary positions of the tokens, or None.
        bias: additive scores shared by all layers, or None.
        distances: vectors of distances between tokens that all layers share, or None.
        cache: keys and values of earlier tokens for this layer, or None.
        memory: tokens of another sequence, for cross-attention.
        memory_plan: the plan from the tokens to `memory`.
        condition: one vector for each sample, for adaptive norms.
        report: what parts leave behind; the same for all blocks.

    Shapes:
        condition `[samples, d_condition]`.
    """

    plan: Plan
    layer: int = 0
    rotation: Rotation | None = None
    bias: Bias | None = None
    distances: Distances | None = None
    cache: LayerCache | None = None
    memory: Memory | None = None
    memory_plan: Plan | None = None
    condition: Tensor | None = None
    report: Report = field(default_factory=Report)


class MultiHead(nn.Module):
    """What all attention layers share: heads, how queries and keys meet, and the map back onto the residual stream.

    A layer hands on the arguments that stand here, and names those that mean nothing to it by fixing them. It adds its
    maps in, says what their rows mean (`projections`), and mixes tokens (`forward`).

    Args:
        d_model: width of the residual stream.
        n_heads: number of query heads.
        n_kv_heads: number of key and value heads; as many as query heads by default.
        head_dim: features of a head; `d_model / n_heads` by default.
        bias: whether the projections have offsets.
        out_bias: whether the map back has one; as `bias` by default. Qwen2 has them in front only.
        qk_norm: makes a norm for the queries and one for the keys of each head
            ([Henry et al. 2020](https://arxiv.org/abs/2010.04245)); none by default.
        score: a function of each scaled score, for example a soft cap.
        pair_bias: makes additive scores of this layer's own, called with `n_heads`; none by default. A bias that all
            layers share is an argument of `Transformer`.
        scale: factor of the scores; `1 / sqrt(head_dim)` by default. T5 uses 1.
        dropout: share of attention weights set to zero in training.

    Raises:
        ValueError: `n_heads` does not divide `d_model` (and no `head_dim` is given), or `n_kv_heads` does not divide
            `n_heads`.
    """

    reads_memory = False
    """Whether it reads the context's memory."""

    by_plan = True
    """Whether its weights are those of a plan, which may be exchanged to look at them or to change them."""

    def __init__(
        self,
        *,
        d_model: Count,
        n_heads: Count,
        n_kv_heads: Count | None = None,
        head_dim: Count | None = None,
        bias: bool = True,
        out_bias: bool | None = None,
        qk_norm: Callable[[int], nn.Module] | None = None,
        score: Score | None = None,
        pair_bias: Callable[..., nn.Module] | None = None,
        scale: NotNegative | None = None,
        dropout: BelowOne = 0.0,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, n_heads=n_heads, n_kv_heads=n_kv_heads, head_dim=head_dim)
        checks.below_one(dropout=dropout)
        self.head_dim = head_dim_of(d_model, n_heads) if head_dim is None else head_dim
        self.n_heads, self.n_kv_heads = n_heads, n_heads if n_kv_heads is None else n_kv_heads
        if self.n_kv_heads < 1 or n_heads % self.n_kv_heads:
            raise ValueError(f"n_kv_heads={self.n_kv_heads} does not divide n_heads={n_heads}")
        self.out = nn.Linear(n_heads * self.head_dim, d_model, bias=bias if out_bias is None else out_bias)
        self.q_norm = qk_norm(self.head_dim) if qk_norm else nn.Identity()
        self.k_norm = qk_norm(self.head_dim) if qk_norm else nn.Identity()
        self.pair_bias = None if pair_bias is None else pair_bias(n_heads=n_heads)
        self.score, self.dropout = score, dropout
        self.sink: Tensor | None = None  # a learned score for each head, in `SinkAttention`
        self.scale = self.default_scale if scale is None else scale
        self.d_model, self._with_offsets = d_model, bias

    def map_in(self, n_heads: int, features: int | None = None) -> nn.Linear:
        """A map of tokens to so many heads.

        Args:
            features: width of the tokens; that of the residual stream by default.
        """
        features = self.d_model if features is None else features
        return nn.Linear(features, n_heads * self.head_dim, bias=self._with_offsets)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: Plan, bias: Bias | None) -> Tensor:
        """The values that each query collects; a subclass may compute them in its own way.

        Args:
            bias: additive scores that come with the batch; the layer's own are added to them.

        Shapes:
            q `[tokens, heads, head_dim]`, k and v `[key tokens, kv_heads, head_dim]` → as q, as wide as v.
        """
        return plan.attend(
            q,
            k,
            v,
            scale=self.scale,
            bias=self.biases(bias),
            score=self.score,
            dropout=self.dropout if self.training else 0.0,
            sink=self.sink,
        )

    @property
    def default_scale(self) -> float:
        """The factor of the scores where none is given."""
        return self.head_dim**-0.5

    @property
    def rotated_width(self) -> int | None:
        """Features of each head that rotary positions may turn; None where this attention turns none."""
        return None

    @property
    def cached_per_token(self) -> int:
        """Numbers that decoding keeps of each token, such as its keys and values."""
        return 0

    @property
    def projections(self) -> dict[str, Projection]:
        """Which rows of which map mean what, by name; a subclass adds its maps in."""
        return stack("out", out=self.out.out_features)

    def biases(self, bias: Bias | None) -> Bias | None:
        """The sum of the batch's additive scores and the layer's own; None where there is neither."""
        own: Any = self.pair_bias
        if own is None or bias is None:
            return bias if own is None else own
        total: Any = _Sum(bias, own)
        return total

    def apart(self, projected: Tensor) -> Tensor:
        """The heads that lie side by side in what a map in gives.

        Shapes:
            `[tokens, heads * head_dim]` → `[tokens, heads, head_dim]`.
        """
        tokens, width = projected.shape
        return projected.reshape(tokens, width // self.head_dim, self.head_dim)

    def join(self, mixed: Tensor) -> Tensor:
        """Maps what all heads of a token collected back onto the residual stream.

        Shapes:
            `[tokens, heads, head_dim]` → `[tokens, d_model]`.
        """
        return self.out(mixed.flatten(1))

    def draw_weights(self, std: float, output_std: float) -> None:
        for name in dict.fromkeys(each.module for each in self.projections.values()):
            linear: Any = self.get_submodule(name)
            linear_(linear, output_std if name == "out" else std)


class SelfAttention(MultiHead):
    """Multi-head self-attention ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), 3.2.2) with fused
    projections.

    Fewer key heads than query heads give grouped-query attention ([Ainslie et al.
    2023](https://arxiv.org/abs/2305.13245)), one gives multi-query attention ([Shazeer
    2019](https://arxiv.org/abs/1911.02150)).

    Args:
        **heads: those of `MultiHead`, all of them.

    Example:
        >>> import torch
        >>> from omniformer.core.attention.plan import lower
        >>> from omniformer.core.layout import Layout
        >>> from omniformer.core.rules import Causal
        >>> attention = SelfAttention(d_model=16, n_heads=4, n_kv_heads=2)
        >>> attention(torch.randn(5, 16), Context(plan=lower(Causal(), Layout.from_lengths(2, 3)))).shape
        torch.Size([5, 16])
    """

    def __init__(self, **heads: Any) -> None:
        super().__init__(**heads)
        self.qkv = self.map_in(self.n_heads + 2 * self.n_kv_heads)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Mixes tokens `[tokens, d_model]` as the context's plan says."""
        return self.join(self.collect(x, context))

    def collect(self, x: Tensor, context: Context) -> Tensor:
        """What the heads of each token collect, `[tokens, heads, head_dim]`."""
        q, k, v = self.project(x, context)
        if context.cache is not None:
            k, v = context.cache.append(k, v)
        return self.attend(q, k, v, context.plan, context.bias)

    def project(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, normalised and rotated.

        Shapes:
            `[tokens, heads, head_dim]`, `[tokens, kv_heads, head_dim]`, `[tokens, kv_heads, head_dim]`.
        """
        sizes = [self.n_heads, self.n_kv_heads, self.n_kv_heads]
        q, k, v = self.apart(self.qkv(x)).split_with_sizes(sizes, dim=1)
        q, k = self.q_norm(q), self.k_norm(k)
        if context.rotation is not None:
            q, k = context.rotation(q), context.rotation(k)
        return q, k, v

    @property
    def rotated_width(self) -> int:
        return self.head_dim

    @property
    def cached_per_token(self) -> int:
        return 2 * self.n_kv_heads * self.head_dim

    @property
    def projections(self) -> dict[str, Projection]:
        n_q, n_kv = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        return stack("qkv", query=n_q, key=n_kv, value=n_kv) | super().projections


class _Sum:
    """Two biases as one."""

    def __init__(self, first: Bias, second: Bias) -> None:
        self.first, self.second = first, second

    def __call__(self, query: View, key: View) -> Tensor:
        return self.first(query, key) + self.second(query, key)


def head_dim_of(d_model: int, n_heads: int) -> int:
    """Features of a head when all heads share the width.

    Raises:
        ValueError: `n_heads` does not divide `d_model`.

    Example:
        >>> head_dim_of(768, 12)
        64
    """
    if n_heads < 1 or d_model % n_heads:
        raise ValueError(f"n_heads={n_heads} does not divide d_model={d_model}; choose a divisor or give head_dim")
    return d_model // n_heads
