"""A rule lowered for one batch: which kernel runs and why, decided once and shared by all layers."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from omniformer.core import checks
from omniformer.core.attention.banded import Banded
from omniformer.core.attention.dense import Dense
from omniformer.core.attention.dispatch import choose
from omniformer.core.attention.edges import Edges
from omniformer.core.attention.flex import Flex
from omniformer.core.attention.kernel import Kernel, Score, Weighing
from omniformer.core.attention.merging import left_by
from omniformer.core.attention.meta import Meta
from omniformer.core.attention.newest import Newest
from omniformer.core.attention.padded_rows import PaddedRows
from omniformer.core.attention.reference import Reference
from omniformer.core.attention.varlen import Varlen
from omniformer.core.biases import Bias
from omniformer.core.layout import Layout
from omniformer.core.rules import Rule

KERNELS: dict[str, Callable[[Rule, Layout, Layout], Kernel]] = {
    kernel.name: kernel for kernel in (Reference, Dense, Edges, Banded, Varlen, Flex, Meta, PaddedRows, Newest)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A rule ready to run on one batch; `lower` makes it."""

    rule: Rule
    layout: Layout
    key_layout: Layout
    kernel: Kernel
    reason: str

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        scale: float | None = None,
        bias: Bias | None = None,
        score: Score | None = None,
        dropout: float = 0.0,
        sink: Tensor | None = None,
    ) -> Tensor:
        """`softmax(score(q k^T scale) + bias) v` over the keys the rule allows, sample by sample
        ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), equation 1).

        A query that may attend to nothing yields zero, with zero gradient.

        Args:
            scale: factor of the scores; `1 / sqrt(head_dim)` by default.
            bias: scores added for each head and pair.
            score: a function of each scaled score, for example a soft cap.
            dropout: share of attention weights set to zero.
            sink: a score for each head that competes with those of the keys for weight and gives nothing, so that a
                query need not attend to anything.

        Shapes:
            q `[tokens, heads, head_dim]`, k `[key tokens, kv_heads, head_dim]`, where kv_heads divides heads, v
            `[key tokens, kv_heads, value_dim]`, sink `[heads]` → `[tokens, heads, value_dim]`. Keys and values of
            equally long samples may come as `[samples, keys, kv_heads, head_dim]`, a view of a cache that need not be
            copied.

        Raises:
            ValueError: q, k and v do not fit the layouts or each other.
        """
        if k.ndim == 4 and not self.kernel.takes_rows:
            k, v = k.flatten(0, 1), v.flatten(0, 1)
        self._check(q, k, v)
        how = Weighing(_scale(scale, q), bias, score, dropout, sink)
        out = self.kernel.attend(q, k, v, how)
        return out if sink is None else out * left_by(sink, self.kernel.lse(q, k, how))[..., None].to(out.dtype)

    def lse(
        self, q: Tensor, k: Tensor, *, scale: float | None = None, bias: Bias | None = None, score: Score | None = None
    ) -> Tensor:
        """The log of the sum of the exponentials of each query's scores, by which `merge` joins this with what the same
        queries collect from other keys; minus infinity for a query that may attend to nothing.

        Shapes:
            as for `attend` → float32 or float64 `[tokens, heads]`.
        """
        k = k if k.ndim == 3 or self.kernel.takes_rows else k.flatten(0, 1)
        self._check(q, k, k)
        return self.kernel.lse(q, k, Weighing(_scale(scale, q), bias, score, 0.0))

    def weights(
        self, q: Tensor, k: Tensor, *, scale: float | None = None, bias: Bias | None = None, score: Score | None = None
    ) -> list[Tensor]:
        """The attention weights that `attend` used, recomputed in plain maths, for pictures.

        Shapes:
            for each sample `[heads, queries, keys]`.
        """
        k = k.flatten(0, 1) if k.ndim == 4 else k
        reference = Reference(self.rule, self.layout, self.key_layout)
        return reference.weights(q, k, scale=_scale(scale, q), bias=bias, score=score)

    def check(self, layout: Layout, key_layout: Layout) -> None:
        """Refuses other layouts than those that the plan was made for: with as many tokens they would fit unseen, and
        samples would read each other.

        Raises:
            ValueError: a layout is not the very one that `lower` was given.
        """
        for name, own, given in (("queries", self.layout, layout), ("keys", self.key_layout, key_layout)):
            if own is not given:
                raise ValueError(
                    f"the plan was lowered for the {name} of {_named(own)}, this call has {_named(given)}; lower the "
                    "rule for the very layout object that you pass"
                )

    def explain(self) -> str:
        """What was chosen, and why."""
        return f"kernel {self.kernel.name!r} for {self.rule}: {self.reason}"

    def _check(self, q: Tensor, k: Tensor, v: Tensor) -> None:
        n_keys = math.prod(k.shape[:-2])
        if q.shape[0] != self.layout.n_tokens or n_keys != self.key_layout.n_tokens or k.shape[:-1] != v.shape[:-1]:
            raise ValueError(
                f"q {list(q.shape)}, k {list(k.shape)}, v {list(v.shape)} do not fit a plan for {self.layout.n_tokens} "
                f"queries and {self.key_layout.n_tokens} keys, each [tokens, heads, head_dim]"
            )
        if q.shape[1] % k.shape[-2]:
            raise ValueError(f"n_kv_heads={k.shape[-2]} does not divide n_heads={q.shape[1]}")


def lower(rule: Rule, layout: Layout, key_layout: Layout | None = None, *, kernel: str = "auto") -> Plan:
    """Chooses the kernel for a rule on a batch and prepares it: index lists, buckets, masks.

    Args:
        rule: who may attend to whom.
        layout: the samples of the queries.
        key_layout: the samples of the keys, for cross-attention; sample i attends to sample i. The same by default.
        kernel: a kernel's name to insist on, or "auto".

    Raises:
        ValueError: no such kernel; the kernel cannot do the rule; or the two layouts have different numbers of samples.

    Example:
        >>> from omniformer.core.rules import Causal
        >>> lower(Causal(), Layout.from_lengths(3, 5)).explain()
        "kernel 'dense' for Causal(): every pair of a sample may count"
    """
    check_kernel(kernel)
    key_layout = layout if key_layout is None else key_layout
    if layout.n_samples != key_layout.n_samples:
        raise ValueError(
            f"queries come from {layout.n_samples} samples, keys from {key_layout.n_samples}; they must pair up"
        )
    if layout.device == torch.device("meta"):
        kernel, reason = "meta", "nothing is computed on the meta device"
    elif layout.kernel != "auto":
        kernel, reason = layout.kernel, "the program must serve batches of any lengths"
    elif kernel == "auto":
        kernel, reason = choose(rule, layout, key_layout)
    else:
        reason = "asked for by name"
    lowered = KERNELS[kernel](rule, layout, key_layout)
    return Plan(rule=rule, layout=layout, key_layout=key_layout, kernel=lowered, reason=reason)


def check_kernel(kernel: str) -> None:
    """Refuses a kernel that does not exist.

    Raises:
        ValueError: it is neither "auto" nor one of `KERNELS`.
    """
    checks.known(("auto", *KERNELS), kernel=kernel)


def _named(layout: Layout) -> str:
    """A layout as messages call it."""
    shown = str(layout.lengths[:6].tolist())[:-1] + (", ...]" if layout.n_samples > 6 else "]")
    return f"a layout of {layout.n_samples} samples with lengths {shown}"


def _scale(scale: float | None, q: Tensor) -> float:
    return q.shape[-1] ** -0.5 if scale is None else scale
