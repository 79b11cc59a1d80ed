"""Which samples share a row of fixed length, so that rows are nearly full."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Samples dealt into rows: row r holds the samples `order[starts[r] : starts[r + 1]]`.

    Shapes:
        order int64 `[samples]`, a permutation; starts int64 `[rows + 1]`.
    """

    order: np.ndarray
    starts: np.ndarray
    fill: float

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        """The samples of one row."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} is outside 0..{len(self) - 1}")
        return self.order[self.starts[row] : self.starts[row + 1]]


def pack_lengths(lengths: Sequence[int] | np.ndarray, capacity: int) -> Rows:
    """Deals samples into as few rows of `capacity` tokens as first-fit decreasing finds (Johnson 1974).

    Each row takes the longest sample that is left, then the longest that still fits, and so on. Rows that come out
    alike are made together, so the cost is that of sorting plus a few steps for each different length. The result is
    deterministic. `fill` is the share of tokens that are not empty.

    Args:
        lengths: tokens of each sample; 0 is legal and takes no room.
        capacity: tokens of a row.

    Raises:
        ValueError: a length is negative or exceeds the capacity; names the sample.

    Example:
        >>> rows = pack_lengths([3, 5, 2, 4, 1], capacity=8)
        >>> [rows[i].tolist() for i in range(len(rows))], rows.fill
        ([[1, 0], [3, 2, 4]], 0.9375)
    """
    sizes = np.asarray(lengths, dtype=np.int64).reshape(-1)
    if sizes.size and (sizes.min() < 0 or sizes.max() > capacity):
        worst = int(((sizes < 0) | (sizes > capacity)).argmax())
        raise ValueError(f"sample {worst} has {sizes[worst]} tokens; rows hold 0 to {capacity}")
    if not sizes.size:
        return Rows(order=np.zeros(0, np.int64), starts=np.zeros(1, np.int64), fill=1.0)
    # Narrow integers are sorted by radix, in linear time.
    by_length = np.argsort(sizes.astype(np.uint16) if capacity < 65536 else sizes, kind="stable")
    counts = np.bincount(sizes)
    first = np.concatenate([[0], np.cumsum(counts)]).tolist()
    order, done = np.empty_like(by_length), 0
    patterns = _patterns(counts, capacity)
    per_row = [sum(row.values()) for row, _ in patterns]
    for (row, times), n_samples in zip(patterns, per_row, strict=True):
        block = order[done : done + times * n_samples].reshape(times, n_samples)
        done += times * n_samples
        column = 0
        for length, n in row.items():
            block[:, column : column + n] = by_length[first[length] : first[length] + times * n].reshape(times, n)
            first[length] += times * n
            column += n
    starts = np.concatenate([[0], np.cumsum(np.repeat(per_row, [times for _, times in patterns]))])
    return Rows(order=order, starts=starts, fill=float(sizes.sum() / max(capacity * (len(starts) - 1), 1)))


def _patterns(counts: np.ndarray, capacity: int) -> list[tuple[dict[int, int], int]]:
    """The rows of first-fit decreasing: how many samples of each length are in a row, and how many rows are alike."""
    left = {int(length): int(counts[length]) for length in counts.nonzero()[0]}
    available = sorted(left)
    patterns = []
    while available:
        row, room = {}, capacity
        i = len(available)
        while i := bisect_right(available, room, hi=i):
            i -= 1
            length = available[i]
            # As many of this length as fit and are there; rows are only alike while each repeats this choice.
            row[length] = min(left[length], room // length) if length else left[length]
            room -= row[length] * length
        times = min([left[length] // n for length, n in row.items()])
        patterns.append((row, times))
        for length, n in row.items():
            left[length] -= n * times
            if not left[length]:
                del available[bisect_right(available, length) - 1]
    return patterns
