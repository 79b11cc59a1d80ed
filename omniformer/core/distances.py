"""A vector for each distance between two tokens, which all layers of a stack share."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.biases import Remembered
from omniformer.core.layout import Layout, View
from omniformer.core.ranges import Count, Positive


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distances:
    """The vectors of one pass, and which of them a pair of tokens has.

    Args:
        vectors: one for each distance that occurs, the key furthest behind the query first.
        row: gives the row of each pair of tokens, from their views as a bias reads them.

    Shapes:
        vectors `[distances, d_model]`; row int64 `[*pairs]`.
    """

    vectors: Tensor
    row: Callable[[View, View], Tensor]


class DistanceVectors(nn.Module):
    """A learned vector for each distance from a token to another ([He et al. 2020](https://arxiv.org/abs/2006.03654),
    DeBERTa, 3.1); distances beyond `n_buckets / 2` share vectors, ever more of them, as in its second version.

    The distance is the query's place less the key's, and each sign has vectors of its own.

    Args:
        d_model: width of the vectors.
        n_buckets: vectors on each side; 256 as in DeBERTa v3.
        max_distance: about where the last of them begins; None for one vector for each distance, of which all from
            `n_buckets` on share the last.
        norm: makes a norm of the vectors, called with `d_model`; none by default.
        init_std: deviation of the vectors at the start; 0.02 as in DeBERTa.

    Raises:
        ValueError: `n_buckets` is below 2, or `max_distance` does not exceed the distances with a vector each by more
            than 1.

    Example:
        >>> vectors = DistanceVectors(d_model=4, n_buckets=8, max_distance=32)
        >>> vectors.row(torch.tensor([-99, -3, 0, 4, 5, 20, 99])).tolist()
        [0, 5, 8, 12, 13, 15, 15]
    """

    no_weight_decay = ("table",)

    def __init__(
        self,
        *,
        d_model: Count,
        n_buckets: Count = 256,
        max_distance: Count | None = 512,
        norm: Callable[[int], nn.Module] | None = None,
        init_std: Positive = 0.02,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, n_buckets=n_buckets, max_distance=max_distance)
        checks.positive(init_std=init_std)
        if n_buckets < 2 or (max_distance is not None and max_distance <= n_buckets // 2 + 1):
            raise ValueError(
                f"n_buckets={n_buckets} must be at least 2, and max_distance={max_distance} must exceed "
                f"{n_buckets // 2 + 1}: distances up to {n_buckets // 2} have a vector each"
            )
        self.n_buckets, self.max_distance, self.init_std = n_buckets, max_distance, init_std
        self.table = nn.Parameter(torch.empty(2 * n_buckets, d_model))
        self.norm = nn.Identity() if norm is None else norm(d_model)
        self.reset_parameters()

    def forward(self, layout: Layout, key_layout: Layout) -> Distances:
        """What all layers of one pass read.

        Args:
            layout: of the queries.
            key_layout: of the keys.
        """
        first, last = self._occurring(layout, key_layout)

        def rows(query: View, key: View) -> Tensor:
            return self.row(query.index - key.index) - first

        shared = Remembered(rows)  # pyright: ignore[reportArgumentType]
        return Distances(vectors=self.norm(self.table[first:last]), row=shared)

    def row(self, distance: Tensor) -> Tensor:
        """The row of the table of each distance.

        Shapes:
            int64, any shape → the same.
        """
        bucket = distance if self.max_distance is None else self._shared(distance, self.max_distance)
        return (bucket + self.n_buckets).clamp(0, 2 * self.n_buckets - 1)

    def _shared(self, distance: Tensor, max_distance: int) -> Tensor:
        """The buckets of distances, of which the far ones share one."""
        near = self.n_buckets // 2
        # float32 and rounding up as in the published models: a bucket's border is part of the weights' meaning.
        share = (distance.abs().float().clamp(min=1) / near).log() / torch.tensor((max_distance - 1) / near).log()
        far = (share * (near - 1)).ceil() + near
        return torch.where(distance.abs() <= near, distance, (far * distance.sign()).long())

    def _occurring(self, layout: Layout, key_layout: Layout) -> tuple[int, int]:
        """The rows of distances within the longest sample: to map the others too would cost more than a short text."""
        counted = layout.kernel == "auto" and layout.start is None and layout.places is None
        if layout is not key_layout or not counted:
            return 0, len(self.table)
        furthest = max(int(layout.lengths.max()) - 1, 0) if layout.n_samples else 0
        first, last = self.row(torch.tensor([-furthest, furthest])).tolist()
        return first, last + 1

    def reset_parameters(self) -> None:
        """Draws the vectors anew."""
        nn.init.normal_(self.table, std=self.init_std)
