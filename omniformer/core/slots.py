"""Where the tokens of a cache lie: one row a sample, one column a token, columns of forgotten tokens used again."""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from omniformer.core.held import HeldLayout
from omniformer.core.layout import Layout
from omniformer.core.ranges import Natural


class Slots:
    """Which columns one step writes and reads.

    Token i of a sample lies in column i. With a window, the first `sinks` tokens keep their columns and the others go
    round the `window` columns behind them.

    Args:
        start: tokens of each sample before the step.
        new: layout of the new tokens.
        lengths: tokens of each sample after the step.
        sinks: first tokens that are never forgotten; read with `window` only.
        window: last tokens kept; all of them by default.

    Shapes:
        start and lengths int64 `[samples]`, on the host.
    """

    def __init__(
        self, start: Tensor, new: Layout, lengths: Tensor, *, sinks: Natural = 0, window: int | None = None
    ) -> None:
        self.start, self.new, self.length = start, new, lengths
        self.sinks, self.window = sinks, window
        # A step of several tokens may overwrite what its first token still has to see: it reads before it writes.
        self.reads_first = window is not None and bool(((new.lengths > 1) & (lengths > sinks + window)).any())
        self.held = self._held(lengths)
        self.equal = not self.reads_first and len(set(self.held.tolist())) == 1

    @cached_property
    def needed(self) -> int:
        """The number of columns in use after the step."""
        return max(self.held.tolist(), default=0)

    @cached_property
    def seen(self) -> Layout:
        """The tokens that the step reads."""
        return HeldLayout(lengths=self.read_lengths, places=self.places, device=self.new.device)

    @cached_property
    def read_lengths(self) -> Tensor:
        """How many tokens of each sample the step reads, `[samples]` on the host."""
        return self._held(self.start) + self.new.lengths if self.reads_first else self.held

    @cached_property
    def places(self) -> Tensor | None:
        """The place in its sample of each token that the step reads; None where none is forgotten."""
        if self.window is None:
            return None
        forgotten = self.read_lengths != (self.start + self.new.lengths if self.reads_first else self.length)
        return self._places() if forgotten.any() else None

    @cached_property
    def order(self) -> Tensor:
        """The order that sorts tokens held before, followed by the new ones, by sample."""
        return torch.argsort(torch.cat([self._before.sample, self.new.sample]), stable=True)

    @cached_property
    def span(self) -> range | None:
        """The columns written, where they are the same run of columns in every sample."""
        starts, counts = self.start.tolist(), self.new.lengths.tolist()
        if len(set(starts)) != 1 or len(set(counts)) != 1:
            return None
        first, count = starts[0], counts[0]
        if self.window is None:
            return range(first, first + count)
        columns = self.column(torch.tensor([first, max(first + count - 1, first)]))
        fits = not self.reads_first and int(columns[1] - columns[0]) == max(count - 1, 0)
        return range(int(columns[0]), int(columns[0]) + count) if fits else None

    @cached_property
    def written(self) -> tuple[Tensor, Tensor, Tensor]:
        """The new tokens that are still held after the step, their rows and their columns."""
        index, sample = self.new.index, self.new.sample
        if self.window is None:
            tokens = torch.arange(len(index), device=index.device)
        else:
            length = self.length.to(index.device)[sample]
            tokens = ((index < self.sinks) | (index >= length - self.window)).nonzero().flatten()
        return tokens, sample[tokens], self.column(index[tokens])

    def read(self, rows: Tensor) -> Tensor:
        """The tokens held now, packed, from rows `[samples, columns, ...]`."""
        layout = self.seen if not self.reads_first else self._before
        return rows[layout.sample, torch.arange(layout.n_tokens, device=layout.device) - layout.offsets[layout.sample]]

    def column(self, index: Tensor) -> Tensor:
        """The column of the token with a given place in its sample."""
        if self.window is None:
            return index
        return torch.where(index < self.sinks, index, self.sinks + (index - self.sinks) % self.window)

    @cached_property
    def _before(self) -> Layout:
        """The columns in use before the step."""
        return Layout(lengths=self._held(self.start), device=self.new.device)

    def _held(self, lengths: Tensor) -> Tensor:
        return lengths if self.window is None else lengths.clamp(max=self.sinks + self.window)

    def _places(self) -> Tensor:
        """The place in its sample of each token that the step reads."""
        if self.reads_first:
            return torch.cat([self._in_columns(self._before, self.start), self.new.index])[self.order]
        return self._in_columns(Layout(lengths=self.held, device=self.new.device), self.length)

    def _in_columns(self, columns: Layout, lengths: Tensor) -> Tensor:
        """The place in its sample of the token in each column, the last that was written there."""
        column, last = columns.index, lengths.to(columns.device)[columns.sample] - 1
        window = self.window or 1
        return torch.where(column < self.sinks, column, last - (last - column) % window)


class Rows:
    """One tensor for each token of a cache: keys, values, coordinates.

    Args:
        columns: how many columns to have, called with those needed where there are fewer.
    """

    def __init__(self, columns: Callable[[int], int]) -> None:
        self._columns = columns
        self._rows: Tensor | None = None

    def append(self, new: Tensor, slots: Slots) -> Tensor:
        """Writes the new tokens and returns all that the step reads.

        Shapes:
            `[new tokens, ...]` → `[tokens, ...]`; where `slots.equal`, a view `[samples, tokens, ...]`.
        """
        new = new.detach() if new.requires_grad else new
        rows = self._rows
        if rows is None or slots.needed > rows.shape[1]:
            rows = self._rows = self._grown(new, slots)
        if slots.reads_first:
            seen = torch.cat([slots.read(rows), new.to(rows.dtype)])[slots.order]
            self._write(rows, new, slots)
            return seen
        self._write(rows, new, slots)
        return rows.narrow(1, 0, slots.needed) if slots.equal else slots.read(rows)

    def reorder(self, samples: Tensor) -> None:
        """Makes row i the former row `samples[i]`."""
        if self._rows is None:
            return
        if self._rows.ndim == 4:  # heads lie before columns, and still do
            self._rows = self._rows.transpose(1, 2).index_select(0, samples).transpose(1, 2)
        else:
            self._rows = self._rows.index_select(0, samples)

    @staticmethod
    def _write(rows: Tensor, new: Tensor, slots: Slots) -> None:
        span = slots.span
        if span is None:
            tokens, row, column = slots.written
            rows[row, column] = new[tokens].to(rows.dtype)
        elif len(span) == 1:  # one token a sample, as in writing
            rows.select(1, span.start).copy_(new)
        else:
            rows.narrow(1, span.start, len(span)).copy_(new.view(rows.shape[0], len(span), *rows.shape[2:]))

    def _grown(self, new: Tensor, slots: Slots) -> Tensor:
        """Rows with as many columns as are needed, and what there was before."""
        old, rows = self._rows, _zeros(len(slots.length), self._columns(slots.needed), new)
        if old is not None:
            rows[:, : old.shape[1]] = old
        return rows


def _zeros(n_samples: int, n_columns: int, like: Tensor) -> Tensor:
    """Rows `[samples, columns, ...]` for tokens of this kind. Those with heads lie head after head in memory, so that
    the products of attention read the columns of a head one after the other.
    """
    if like.ndim != 3:
        return like.new_zeros(n_samples, n_columns, *like.shape[1:])
    return like.new_zeros(n_samples, like.shape[1], n_columns, like.shape[2]).transpose(1, 2)
