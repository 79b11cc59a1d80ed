"""Additive attention scores: how much more or less a query attends to a key, apart from what the tokens say."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.frequencies import Frequencies
from omniformer.core.layout import View
from omniformer.core.ranges import Count, Positive


class Bias(nn.Module, ABC):
    """A fixed or learned number for each head and pair of tokens, added to the scaled scores before the softmax.

    A subclass implements `forward`. Views broadcast against each other, as in `Rule.attend`, so one bias serves dense
    blocks, bands and lists of edges.
    """

    @abstractmethod
    def forward(self, query: View, key: View) -> Tensor:
        """The scores to add.

        Shapes:
            `[heads or 1, *pairs]`, where pairs is the broadcast shape of the two views.
        """


class Remembered:
    """A bias that computes its numbers once for all layers that ask for the same pairs.

    It lives for one forward pass, in one gradient mode; layers that are recomputed in the backward pass need the bias
    itself.

    Args:
        bias: the bias that the layers share.

    Example:
        >>> from omniformer.core.layout import Layout
        >>> view, bias = Layout.from_lengths(3).view(), Remembered(ALiBi(n_heads=2))
        >>> bias(view[:, None], view[None, :]) is bias(view[:, None], view[None, :])
        True
    """

    def __init__(self, bias: Bias) -> None:
        self.bias = bias
        self._known: dict[tuple[object, ...], tuple[Tensor, View, View]] = {}

    def __call__(self, query: View, key: View) -> Tensor:
        """The scores to add, `[heads, *pairs]`."""
        if torch.compiler.is_compiling():
            # A traced tensor has no address; the compiler finds what layers have in common by itself.
            return self.bias(query, key)
        pairs = (*_same(query), *_same(key))
        if pairs not in self._known:
            # The views are kept too: memory that somebody else reused would look like the same pairs.
            self._known[pairs] = self.bias(query, key), query, key
        return self._known[pairs][0]


def _same(view: View) -> tuple[object, ...]:
    """What two views have in common when they show the same tokens."""
    return id(view.layout), view.token.data_ptr(), tuple(view.token.shape), view.token.stride()


class ALiBi(Bias):
    """`-slope * distance` with a fixed slope for each head ([Press et al. 2021](https://arxiv.org/abs/2108.12409)).

    Slopes are powers of `2^(-8 / n_heads)`; where the number of heads is no power of two, the authors' way of filling
    up. The distance counts places in the sample, both ways.

    Args:
        n_heads: number of query heads.

    Example:
        >>> ALiBi(n_heads=8).slopes().tolist()[:3]
        [0.5, 0.25, 0.125]
    """

    def __init__(self, *, n_heads: Count) -> None:
        super().__init__()
        if n_heads < 1:
            raise ValueError(f"n_heads={n_heads} must be at least 1")
        self.slopes = Frequencies(torch.tensor(_slopes(n_heads)))

    def forward(self, query: View, key: View) -> Tensor:
        distance = (query.index - key.index).abs()
        return -self.slopes().view(-1, *([1] * distance.ndim)) * distance


def _slopes(n_heads: int) -> list[float]:
    power = 2 ** math.floor(math.log2(n_heads))
    slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    # Heads beyond a power of two take every second slope of twice as many heads.
    return slopes + [2 ** (-8 * (2 * i + 1) / (2 * power)) for i in range(n_heads - power)]


class T5Buckets(Bias):
    """A learned number for each head and bucket of distances ([Raffel et al. 2020](https://arxiv.org/abs/1910.10683),
    2.1): near distances have a bucket each, far ones share buckets of growing width.

    Args:
        n_heads: number of query heads.
        n_buckets: buckets, of which half are for keys after the query when `bidirectional`.
        max_distance: from here on all distances share the last bucket.
        bidirectional: whether keys after the query have buckets of their own, as in an encoder; in a decoder they are
            never seen.
        init_std: deviation of the numbers at the start.

    Raises:
        ValueError: there are fewer than 2 buckets a side (4 when bidirectional), or `max_distance` does not exceed the
            distances that have a bucket each.

    Example:
        >>> T5Buckets(n_heads=2, n_buckets=8, max_distance=16).bucket(torch.tensor([-20, -1, 0, 1, 20])).tolist()
        [3, 1, 0, 5, 7]
    """

    no_weight_decay = ("table",)

    def __init__(
        self,
        *,
        n_heads: Count,
        n_buckets: Count = 32,
        max_distance: Count = 128,
        bidirectional: bool = True,
        init_std: Positive = 0.02,
    ) -> None:
        super().__init__()
        checks.counts(n_heads=n_heads)
        checks.positive(init_std=init_std)
        self.side = n_buckets // 2 if bidirectional else n_buckets
        if self.side < 2 or max_distance <= self.side // 2:
            raise ValueError(
                f"n_buckets={n_buckets} gives {self.side} buckets a side, at least 2 are needed; "
                f"max_distance={max_distance} must exceed {self.side // 2}, the distances with a bucket each"
            )
        self.max_distance, self.bidirectional, self.init_std = max_distance, bidirectional, init_std
        self.table = nn.Parameter(torch.empty(n_buckets, n_heads))
        self.reset_parameters()

    def forward(self, query: View, key: View) -> Tensor:
        return looked_up(self.table, self.bucket(key.index - query.index))

    def bucket(self, offset: Tensor) -> Tensor:
        """The bucket of a key that lies `offset` places after the query.

        Shapes:
            int64, any shape → the same.
        """
        after = (offset > 0) & self.bidirectional
        distance = offset.abs() if self.bidirectional else (-offset).clamp(min=0)
        near = self.side // 2
        # float32 and truncation as in the published models: a bucket's border is part of the weights' meaning.
        share = (distance.float().clamp(min=1) / near).log() / math.log(self.max_distance / near)
        far = (near + (share * (self.side - near)).long()).clamp(max=self.side - 1)
        return torch.where(distance < near, distance, far) + after * self.side

    def reset_parameters(self) -> None:
        nn.init.normal_(self.table, std=self.init_std)


class RelativeTable(Bias):
    """A learned number for each head and difference of coordinates: in one dimension after
    [Shaw et al. 2018](https://arxiv.org/abs/1803.02155), in two after [Liu et al.
    2021](https://arxiv.org/abs/2103.14030) (Swin).

    It reads the layout's positions, or the order of tokens where it has none. Differences beyond `max_distances` share
    the last number, as in Shaw et al. Positions are rounded to whole numbers.

    Args:
        n_heads: number of query heads.
        max_distances: along each axis, the largest difference told apart: [16] for text, [13, 13] for 14 x 14 patches.
        init_std: deviation of the numbers at the start; 0.02 as in Swin.

    Raises:
        ValueError: `max_distances` is empty or holds a number below 0; at first use, the positions have another number
            of axes.

    Example:
        >>> from omniformer.core.layout import Layout
        >>> view = Layout.from_lengths(5).view()
        >>> RelativeTable(n_heads=2, max_distances=[3])(view[:, None], view[None, :]).shape
        torch.Size([2, 5, 5])
    """

    no_weight_decay = ("table",)

    def __init__(self, *, n_heads: Count, max_distances: Sequence[Count], init_std: Positive = 0.02) -> None:
        super().__init__()
        checks.counts(n_heads=n_heads)
        checks.positive(init_std=init_std)
        if not max_distances or min(max_distances) < 0:
            raise ValueError(f"max_distances={list(max_distances)} must hold at least one number, each at least 0")
        self.max_distances, self.init_std = tuple(max_distances), init_std
        self.table = nn.Parameter(torch.empty(*(2 * most + 1 for most in max_distances), n_heads))
        self.reset_parameters()

    def forward(self, query: View, key: View) -> Tensor:
        row = torch.zeros((), dtype=torch.long, device=self.table.device)
        for axis, most in enumerate(self.max_distances):
            difference = self._coordinate(key, axis) - self._coordinate(query, axis)
            row = row * (2 * most + 1) + difference.clamp(-most, most) + most
        return looked_up(self.table.flatten(0, -2), row)

    def _coordinate(self, view: View, axis: int) -> Tensor:
        positions, axes = view.layout.positions, len(self.max_distances)
        if positions is None and axes == 1:
            return view.index
        given = 1 if positions is None else positions.shape[1]
        if positions is None or given != axes:
            raise ValueError(
                f"positions have {given} axes, this table has {axes} (max_distances={list(self.max_distances)})"
            )
        return positions[view.token, axis].round().long()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.table, std=self.init_std)


class ClassRelativeTable(RelativeTable):
    """As `RelativeTable`, and three more numbers for each head: from a class token to the others, from the others to
    it, and from it to itself ([Bao et al. 2021](https://arxiv.org/abs/2106.08254), BEiT, their published code).

    The class token is the first of its sample. Differences are those from the key to the query, as in the published
    files.

    Args:
        n_heads: number of query heads.
        max_distances: along each axis, the largest difference told apart: [13, 13] for 14 x 14 patches.
        init_std: deviation of the numbers at the start.

    Example:
        >>> from omniformer.core.layout import Layout
        >>> view = Layout(lengths=torch.tensor([5]), positions=torch.zeros(5, 2)).view()
        >>> ClassRelativeTable(n_heads=2, max_distances=[1, 1])(view[:, None], view[None, :]).shape
        torch.Size([2, 5, 5])
    """

    no_weight_decay = ("table", "class_table")

    def __init__(self, *, n_heads: Count, max_distances: Sequence[Count], init_std: Positive = 0.02) -> None:
        super().__init__(n_heads=n_heads, max_distances=max_distances, init_std=init_std)
        self.class_table = nn.Parameter(torch.empty(3, n_heads))
        self.reset_parameters()

    def forward(self, query: View, key: View) -> Tensor:
        row = torch.zeros((), dtype=torch.long, device=self.table.device)
        for axis, most in enumerate(self.max_distances):
            difference = self._coordinate(query, axis) - self._coordinate(key, axis)
            row = row * (2 * most + 1) + difference.clamp(-most, most) + most
        table = torch.cat([self.table.flatten(0, -2), self.class_table])
        first = len(table) - 3
        of_query, of_key = query.index == 0, key.index == 0
        row = torch.where(of_query, first, torch.where(of_key, first + 1, row))
        return looked_up(table, torch.where(of_query & of_key, first + 2, row))

    def resized(self, *max_distances: int) -> "ClassRelativeTable":
        """The same numbers for another grid, interpolated linearly, as the library transformers does.

        Args:
            *max_distances: along the two axes.
        """
        n_heads = self.table.shape[-1]
        resized = ClassRelativeTable(n_heads=n_heads, max_distances=max_distances, init_std=self.init_std)
        size = [2 * most + 1 for most in max_distances]
        with torch.no_grad():
            grid = self.table.float().permute(2, 0, 1)[None]
            grid = F.interpolate(grid, size=size, mode="bilinear", align_corners=False)
            resized.table.copy_(grid[0].permute(1, 2, 0))
            resized.class_table.copy_(self.class_table)
        return resized.to(self.table.device, self.table.dtype)

    def reset_parameters(self) -> None:
        for name in self.no_weight_decay:
            if hasattr(self, name):
                nn.init.normal_(getattr(self, name), std=self.init_std)


def looked_up(table: Tensor, row: Tensor) -> Tensor:
    """A row of a table for each pair, heads first.

    Shapes:
        table `[rows, heads]`, row int64 `[*pairs]` → `[heads, *pairs]`.
    """
    # Half the time of `table[row]` on a CPU, forward and backward, and no copy to bring the heads to the front.
    return table.T.index_select(1, row.flatten()).view(table.shape[1], *row.shape)
