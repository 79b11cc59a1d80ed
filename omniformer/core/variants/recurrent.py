"""Recurrent networks in the place of a transformer: the baselines that transformers are compared with."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from omniformer.core import checks
from omniformer.core.attention.plan import Plan
from omniformer.core.cache import KVCache, LayerCache
from omniformer.core.dropout import Dropout
from omniformer.core.init import untouched
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.ranges import BelowOne, Count
from omniformer.core.rules import Causal, Full, Rule

Cell = Literal["lstm", "gru"]
_CELLS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """LSTM or GRU layers ([Hochreiter and Schmidhuber 1997](https://doi.org/10.1162/neco.1997.9.8.1735)).

    It is called like `Transformer` and computes each token from those before it, or, in both directions, from all of
    its sample. Batches stay packed: each step runs over the samples that have a token there.

    Args:
        d_model: width of the tokens and of every layer.
        n_layers: number of layers.
        cell: "lstm", or "gru" ([Cho et al. 2014](https://arxiv.org/abs/1406.1078)).
        bidirectional: whether each layer also reads from the end, half the width for each direction
            ([Schuster and Paliwal 1997](https://doi.org/10.1109/78.650093)).
        dropout: share of features set to zero in training between layers
            ([Zaremba et al. 2014](https://arxiv.org/abs/1409.2329)).

    Raises:
        ValueError: `n_layers` is below 1; the width of a bidirectional network is odd; the cell is unknown.

    Example:
        >>> core = Recurrent(d_model=16, n_layers=2)
        >>> core(torch.randn(5, 16), Layout.from_lengths(2, 3)).shape
        torch.Size([5, 16])
    """

    reads_memory = False

    def __init__(
        self,
        *,
        d_model: Count,
        n_layers: Count,
        cell: Cell = "lstm",
        bidirectional: bool = False,
        dropout: BelowOne = 0.0,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, n_layers=n_layers)
        checks.known(_CELLS, cell=cell)
        if bidirectional and d_model % 2:
            raise ValueError(f"d_model={d_model} must be even: each of the two directions gets half of it")
        self.d_model, self.n_layers, self.bidirectional = d_model, n_layers, bidirectional
        hidden = d_model // 2 if bidirectional else d_model
        self.layers = nn.ModuleList(_CELLS[cell](d_model, hidden, bidirectional=bidirectional) for _ in range(n_layers))
        checks.below_one(dropout=dropout)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        rule: Rule | None = None,
        *,
        plan: Plan | None = None,
        cache: KVCache | None = None,
        memory: Memory | None = None,
        condition: Tensor | None = None,
        stages: dict[str, Tensor] | None = None,
        losses: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Passes the tokens of each sample through all layers.

        Args:
            x: tokens of all samples, end to end.
            layout: where the samples begin and end.
            rule: who may read whom; what a network in one direction reads must be allowed, so it takes `Full()` and
                `Causal()`, one in both directions `Full()` only.
            plan: the rule already lowered, where the caller has it.
            cache: the state after earlier tokens; `layout` must then be the one that `cache.extend` gave.
            memory: none; `RecurrentDecoder` reads one.
            condition: none.
            stages: filled, when given, with the output of every layer by name.
            losses: left as they are.

        Shapes:
            x `[tokens, d_model]` → `[tokens, d_model]`.

        Raises:
            ValueError: the rule forbids what this network reads; a network in both directions has a cache; there is a
                memory or a condition; the plan is for another layout, or the cache did not announce it.
        """
        if memory is not None or condition is not None:
            raise ValueError(
                "a recurrent core reads neither a memory nor a condition; use RecurrentDecoder or Transformer"
            )
        layout.admit(self)
        check_rule(plan.rule if plan is not None else rule or Full(), bidirectional=self.bidirectional)
        if self.bidirectional and cache is not None:
            raise ValueError(
                "a recurrent network in both directions cannot decode step by step; use bidirectional=False"
            )
        if plan is not None:
            plan.check(layout, layout if cache is None else cache.seen)
        if cache is not None:
            cache.check(layout, self.n_layers)
        order = time_major(layout)
        for i, layer in enumerate(self.layers):
            x = run_layer(layer, self.dropout(x) if i else x, order, None if cache is None else cache.layers[i])
            if stages is not None:
                stages[f"layers.{i}"] = x
        return x


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TimeMajor:
    """Packed tokens in the order in which a recurrent network reads them: all first tokens, then all second ones.

    Args:
        token: the tokens in that order; within a step, the longest sample first.
        place: where each token stands in that order.
        counts: how many samples have a token at each step.
        sample: the samples that have tokens, longest first.

    Shapes:
        token and place int64 `[tokens]`; counts int64 `[steps]`, on the host; sample int64 `[samples with tokens]`.
    """

    token: Tensor
    place: Tensor
    counts: Tensor
    sample: Tensor
    n_samples: int


def time_major(layout: Layout) -> TimeMajor:
    """The order in which a recurrent network reads a layout, computed once for each layout.

    Example:
        >>> time_major(Layout.from_lengths(1, 0, 2)).token.tolist()
        [1, 0, 2]
    """
    return layout.memo("time major", lambda: _time_major(layout))


def _time_major(layout: Layout) -> TimeMajor:
    longest_first = torch.argsort(layout.lengths, descending=True, stable=True)
    sample = longest_first[: int((layout.lengths > 0).sum())]
    lengths, first = layout.lengths[sample], (layout.lengths.cumsum(0) - layout.lengths)[sample]
    step = torch.arange(int(lengths.max()) if len(lengths) else 0)
    present = step[:, None] < lengths
    token = (first + step[:, None])[present]
    place = torch.empty_like(token)
    place[token] = torch.arange(len(token))
    device = layout.device
    return TimeMajor(
        token=token.to(device),
        place=place.to(device),
        counts=present.sum(1),
        sample=sample.to(device),
        n_samples=layout.n_samples,
    )


def run_layer(layer: nn.Module, x: Tensor, order: TimeMajor, cache: LayerCache | None) -> Tensor:
    """One layer of `nn.LSTM` or `nn.GRU` over packed tokens, going on from the cache's state and leaving it there.

    Shapes:
        `[tokens, d_model]` → `[tokens, d_model]`.
    """
    if not len(order.token):
        # PyTorch refuses batches without tokens; the weights still get gradients, which are zero.
        return x + untouched(layer)
    names = ("h", "c") if isinstance(layer, nn.LSTM) else ("h",)
    before = None
    if cache is not None and cache.state:
        states = [cache.state[name][order.sample][None] for name in names]
        before = tuple(states) if len(states) > 1 else states[0]
    out, after = layer(PackedSequence(x.index_select(0, order.token), order.counts), before)
    if cache is not None:
        for name, rows in zip(names, after if isinstance(after, tuple) else (after,), strict=True):
            keep_state(cache, name, rows[0], order)
    return out.data.index_select(0, order.place)


def keep_state(cache: LayerCache, name: str, rows: Tensor, order: TimeMajor) -> None:
    """Writes the state of the samples that had tokens; the others keep theirs, which is zero at the start.

    Shapes:
        rows `[samples with tokens, ...]`.
    """
    kept = cache.state.get(name)
    kept = rows.new_zeros(order.n_samples, *rows.shape[1:]) if kept is None else kept
    cache.state[name] = kept.index_copy(0, order.sample, rows.detach())


def check_rule(rule: Rule, *, bidirectional: bool) -> None:
    """Raises where a recurrent network would read what a rule forbids.

    Raises:
        ValueError: the rule is not `Full()`, nor `Causal()` for a network in one direction.
    """
    allowed = (Full,) if bidirectional else (Full, Causal)
    if not isinstance(rule, allowed):
        reads = "every token of its sample" if bidirectional else "every token before"
        raise ValueError(f"a recurrent network reads {reads}, which {rule} forbids")
