"""Samples cut into rows of equal size, so that ragged batches run as batched matrix products in linear time."""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from omniformer.core.attention.rows import token_rows
from omniformer.core.layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunks:
    """The tokens of each sample in rows of `size`; a sample's last row is filled up, and no row holds two samples.

    Args:
        token: numbers of the tokens; a place that is filled up repeats the last token of its sample.
        valid: False where a place is filled up.
        place: where each token stands among the places of all rows.
        sample: the sample that each row belongs to.
        waves: rows by their turn: row `w` of every sample that has one, longest sample first.

    Shapes:
        token int64 and valid bool `[rows, size]`; place int64 `[tokens]`; sample int64 `[rows]`; waves a list of int64
        `[samples with a row of that turn]`.
    """

    token: Tensor
    valid: Tensor
    place: Tensor
    sample: Tensor
    waves: tuple[Tensor, ...]
    n_samples: int

    def rows(self, packed: Tensor) -> Tensor:
        """The tokens in rows, zero where a place is filled up.

        Shapes:
            `[tokens, ...]` → `[rows, size, ...]`.
        """
        rows = packed.index_select(0, self.token.flatten()).unflatten(0, self.token.shape)
        return rows.masked_fill(~self.valid.view(*self.valid.shape, *[1] * (packed.ndim - 1)), 0.0)

    def packed(self, rows: Tensor) -> Tensor:
        """The way back.

        Shapes:
            `[rows, size, ...]` → `[tokens, ...]`.
        """
        return rearrange(rows, "rows size ... -> (rows size) ...").index_select(0, self.place)

    def sum_by_sample(self, rows: Tensor) -> Tensor:
        """The sum of each sample's rows.

        Shapes:
            `[rows, ...]` → `[samples, ...]`.
        """
        return rows.new_zeros(self.n_samples, *rows.shape[1:]).index_add(0, self.sample, rows)

    def sum_before(self, rows: Tensor) -> Tensor:
        """For each row, the sum of the rows before it in the same sample.

        Shapes:
            `[rows, ...]` → `[rows, ...]`.
        """
        if not self.waves:
            return rows
        order, sums = torch.cat(self.waves), []
        total = torch.zeros_like(rows[: len(self.waves[0])])
        # One gather and one split: a gather for each wave would cost its backward pass all rows each time.
        for now in rows.index_select(0, order).split([len(wave) for wave in self.waves]):
            # Longest sample first: the samples that still have rows are always the leading ones.
            total = total[: len(now)]
            sums.append(total)
            total = total + now
        return torch.zeros_like(rows).index_copy(0, order, torch.cat(sums))


def chunks_of(layout: Layout, size: int) -> Chunks:
    """The layout in rows of `size` tokens, computed once for each layout.

    Example:
        >>> chunks_of(Layout.from_lengths(3, 0, 2), 2).token.tolist()
        [[0, 1], [2, 2], [3, 4]]
    """
    return layout.memo(f"chunks of {size}", lambda: _cut(layout, size))


def _cut(layout: Layout, size: int) -> Chunks:
    n_rows = -(-layout.lengths // size)
    first_row = torch.cat([n_rows.new_zeros(1), n_rows.cumsum(0)])
    sample = torch.repeat_interleave(torch.arange(layout.n_samples), n_rows)
    turn = torch.arange(len(sample)) - first_row[sample]
    first = (layout.lengths.cumsum(0) - layout.lengths)[sample] + turn * size
    token, valid = token_rows(first, (layout.lengths[sample] - turn * size).clamp(max=size), size)
    longest_first = torch.argsort(n_rows, descending=True, stable=True)
    waves = [
        (first_row[:-1][longest_first] + wave)[: int((n_rows > wave).sum())]
        for wave in range(int(n_rows.max()) if layout.n_samples else 0)
    ]
    return Chunks(
        token=token.to(layout.device),
        valid=valid.to(layout.device),
        place=valid.flatten().nonzero().flatten().to(layout.device),
        sample=sample.to(layout.device),
        waves=tuple(wave.to(layout.device) for wave in waves),
        n_samples=layout.n_samples,
    )
