"""The decoder of a recurrent encoder-decoder, with and without attention to the source."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.attention.plan import Plan
from omniformer.core.attention.reference import masked_softmax
from omniformer.core.attention.rows import token_rows
from omniformer.core.cache import KVCache, LayerCache
from omniformer.core.init import untouched
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.ranges import Count
from omniformer.core.rules import Full, Rule
from omniformer.core.variants.recurrent import Cell, check_rule, keep_state, time_major

_CELLS: dict[str, type[nn.LSTMCell] | type[nn.GRUCell]] = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """A memory as rows, one a sample, ready to be read at every step.

    Shapes:
        x `[samples, longest, d_memory]`, keys `[samples, longest, d_model]`, valid bool `[samples, longest]`.
    """

    x: Tensor
    keys: Tensor
    valid: Tensor


class AdditiveReader(nn.Module):
    """Additive attention ([Bahdanau et al. 2015](https://arxiv.org/abs/1409.0473), A.1.2).

    `v tanh(W s + U h_j)` scores each source token h_j for the decoder's state s.

    Args:
        d_model: width of the state and of the source.
    """

    def __init__(self, *, d_model: Count) -> None:
        super().__init__()
        checks.counts(d_model=d_model)
        self.query = nn.Linear(d_model, d_model, bias=False)
        self.key = nn.Linear(d_model, d_model)
        self.score = nn.Linear(d_model, 1, bias=False)

    def keys(self, memory: Tensor) -> Tensor:
        """The part of the scores that does not depend on the state."""
        return self.key(memory)

    def forward(self, state: Tensor, source: Source) -> tuple[Tensor, Tensor]:
        """What each sample's state reads, and with which weights; zero where the source is empty.

        Shapes:
            state `[samples, d_model]` → `[samples, d_model]`, `[samples, longest]`.
        """
        scores = self.score(torch.tanh(self.query(state)[:, None] + source.keys))[..., 0]
        weights = masked_softmax(scores, source.valid)
        return (weights[:, None] @ source.x)[:, 0], weights


class LastReader(nn.Module):
    """No attention: the source as one vector ([Cho et al. 2014](https://arxiv.org/abs/1406.1078), 2.2).

    The source's last token, an encoder's final state, stands for all of it at every step. The encoder should read in
    one direction.

    Args:
        d_model: width of the source.
    """

    def __init__(self, *, d_model: Count) -> None:
        super().__init__()

    def keys(self, memory: Tensor) -> Tensor:
        """Nothing to prepare."""
        return memory

    def forward(self, state: Tensor, source: Source) -> tuple[Tensor, Tensor]:
        """The last token of each sample's source, with weight one; zero where the source is empty.

        Shapes:
            state `[samples, d_model]` → `[samples, d_model]`, `[samples, longest]`.
        """
        place = torch.arange(source.valid.shape[1], device=state.device)
        weights = (place == source.valid.sum(1, keepdim=True) - 1).to(source.x.dtype)
        return (weights[:, None] @ source.x)[:, 0], weights


class RecurrentDecoder(nn.Module):
    """A recurrent network that writes while it reads ([Bahdanau et al. 2015](https://arxiv.org/abs/1409.0473)).

        c_t = reader(s_(t-1), source)      s_t = cell([x_t, c_t], s_(t-1))      out_t = W [s_t, c_t]

    The first state is `tanh(W mean(source))`; the paper takes the encoder's backward state in place of the mean, and a
    deeper map for the output. With a bidirectional `Recurrent` as the encoder of an `EncoderDecoder` this is the
    paper's translator; with `LastReader` and an encoder in one direction it is the one before attention.

    Args:
        d_model: width of the tokens, the state and the source.
        cell: "gru" as in the paper, or "lstm".
        reader: makes the part that reads the source, called with `d_model`: `AdditiveReader` or `LastReader`.

    Raises:
        ValueError: the cell is unknown.

    Example:
        >>> from omniformer.core.variants.recurrent import Recurrent
        >>> source, target = Layout.from_lengths(4, 2), Layout.from_lengths(3, 3)
        >>> encoder = Recurrent(d_model=16, n_layers=1, cell="gru", bidirectional=True)
        >>> memory = Memory(x=encoder(torch.randn(6, 16), source), layout=source)
        >>> stages = {}
        >>> RecurrentDecoder(d_model=16)(torch.randn(6, 16), target, memory=memory, stages=stages).shape
        torch.Size([6, 16])
        >>> stages["alignment"].shape
        torch.Size([6, 4])
    """

    reads_memory = True
    n_layers = 1

    def __init__(
        self, *, d_model: Count, cell: Cell = "gru", reader: Callable[..., nn.Module] = AdditiveReader
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model)
        checks.known(_CELLS, cell=cell)
        self.d_model = d_model
        self.first = nn.Linear(d_model, d_model)
        self.cell = _CELLS[cell](2 * d_model, d_model)
        self.reader = reader(d_model=d_model)
        self.out = nn.Linear(2 * d_model, d_model)

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        rule: Rule | None = None,
        *,
        memory: Memory | None = None,
        plan: Plan | None = None,
        cache: KVCache | None = None,
        condition: Tensor | None = None,
        stages: dict[str, Tensor] | None = None,
        losses: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Writes the target while reading the memory, sample by sample.

        Args:
            x: target tokens of all samples, end to end.
            layout: where the samples begin and end.
            rule: `Causal()` or `Full()`; the network reads only what came before.
            memory: the source; with a cache it is needed in the first step only.
            plan: the rule already lowered, where the caller has it.
            cache: the state after earlier tokens; `layout` must then be the one that `cache.extend` gave.
            condition: none.
            stages: filled, when given, with "alignment": the weight that each target token gave to each source token.
            losses: left as they are.

        Shapes:
            x `[tokens, d_model]` → `[tokens, d_model]`; alignment `[tokens, longest source]`, zero where a source ends.

        Raises:
            ValueError: there is no memory, or a condition; the plan is for another layout, or the cache did not
                announce it; memory and target differ in the number of samples; a rule forbids what this network reads.
        """
        layout.admit(self)
        check_rule(plan.rule if plan is not None else rule or Full(), bidirectional=False)
        if plan is not None:
            plan.check(layout, layout if cache is None else cache.seen)
        if cache is not None:
            cache.check(layout, self.n_layers)
            memory = cache.remember(memory)
        if memory is None or condition is not None:
            raise ValueError("a recurrent decoder reads a memory and no condition; pass memory=, or use Recurrent")
        if memory.layout.n_samples != layout.n_samples:
            raise ValueError(
                f"the memory has {memory.layout.n_samples} samples, the target {layout.n_samples}; they must pair up"
            )
        check_rule(memory.rule, bidirectional=True)
        layer = None if cache is None else cache.layers[0]
        out, alignment = self._steps(x, layout, self._source(memory, layer), layer)
        if stages is not None:
            stages["alignment"] = alignment
        return out

    def _steps(self, x: Tensor, layout: Layout, source: Source, cache: LayerCache | None) -> tuple[Tensor, Tensor]:
        """All steps, one after the other; samples that have ended drop out."""
        order = time_major(layout)
        rows = x.index_select(0, order.token).split(order.counts.tolist())
        source = Source(x=source.x[order.sample], keys=source.keys[order.sample], valid=source.valid[order.sample])
        state = self._first_state(source) if cache is None or not cache.state else cache.state["s"][order.sample]
        outs, alignments, last = [x.new_zeros(0, 2 * self.d_model)], [x.new_zeros(0, source.valid.shape[1])], []
        for now in rows:
            n = len(now)
            last.append(state[n:])
            state, present = state[:n], Source(x=source.x[:n], keys=source.keys[:n], valid=source.valid[:n])
            read, weights = self.reader(state[:, 0], present)
            state = self._next_state(torch.cat([now, read], dim=-1), state)
            outs.append(torch.cat([state[:, 0], read], dim=-1))
            alignments.append(weights)
        if cache is not None:
            keep_state(cache, "s", torch.cat([state, *reversed(last)]), order)
        out = self.out(torch.cat(outs))
        if not rows:
            out = out + untouched(self) + 0.0 * (source.x.sum() + source.keys.sum())
        return out.index_select(0, order.place), torch.cat(alignments).index_select(0, order.place)

    def _first_state(self, source: Source) -> Tensor:
        count = source.valid.sum(1, keepdim=True).clamp(min=1)
        hidden = torch.tanh(self.first(source.x.sum(1) / count))
        return (
            torch.stack([hidden, torch.zeros_like(hidden)], dim=1)
            if isinstance(self.cell, nn.LSTMCell)
            else hidden[:, None]
        )

    def _next_state(self, x: Tensor, state: Tensor) -> Tensor:
        if isinstance(self.cell, nn.LSTMCell):
            return torch.stack(self.cell(x, (state[:, 0], state[:, 1])), dim=1)
        return self.cell(x, state[:, 0])[:, None]

    def _source(self, memory: Memory, cache: LayerCache | None) -> Source:
        """The memory in rows; what does not depend on the state is computed once."""
        prepare: Any = self.reader.keys
        keys = prepare(memory.x) if cache is None else cache.once(lambda: (prepare(memory.x), memory.x))[0]
        layout = memory.layout
        _, valid = token_rows(layout.offsets[:-1], layout.lengths.to(layout.device))
        return Source(x=layout.pad(memory.x), keys=layout.pad(keys), valid=valid)
