"""Attention in a band: windows, sinks, global tokens and random blocks, in time and memory linear in the length."""

from dataclasses import dataclass

import torch
from torch import Tensor

from omniformer.core.attention.blocks import Blocks, Bucket, masked, with_mask
from omniformer.core.attention.dense import grouped, sample_bucket
from omniformer.core.attention.rows import token_rows
from omniformer.core.layout import Layout
from omniformer.core.rules import Reach, Rule

# Queries of a block. Larger blocks waste the corners of the band, smaller ones gather each key more often.
_SMALLEST, _LARGEST = 32, 256


class Banded(Blocks):
    """Softmax attention for rules of bounded reach, block of queries by block of queries.

    Each block attends to the keys that its queries can reach: a stretch of the sample (the band), and besides it the
    sinks, the columns of global tokens and the chosen blocks ([Beltagy et al. 2020](https://arxiv.org/abs/2004.05150),
    appendix A; [Zaheer et al. 2020](https://arxiv.org/abs/2007.14062), appendix D). Within these the rule itself
    decides each pair. Global queries, which look at everything, form blocks of their own. Samples shorter than a band
    are whole blocks, as in `Dense`.

    Raises:
        ValueError: the rule's reach is unbounded, or the keys do not lie in the order of their index.
    """

    name = "banded"

    def __init__(self, rule: Rule, layout: Layout, key_layout: Layout) -> None:
        reach = rule.reach()
        if not reach.bounded:
            left, right = _side(reach.left), _side(reach.right)
            raise ValueError(
                f"kernel 'banded' needs a rule that reaches a bounded distance to both sides; {rule} reaches {left} to "
                f"the left and {right} to the right; add & Window(left=..., right=...)"
            )
        if layout.places is not None or key_layout.places is not None:
            raise ValueError(
                "kernel 'banded' needs tokens in the order of their index, and this layout has places of its own"
            )
        size = block_size(rule)
        longest = torch.maximum(layout.lengths, key_layout.lengths)
        short = longest <= size + reach.left + reach.right
        nothing = torch.zeros_like(longest)
        groups = grouped(torch.where(short, layout.lengths, nothing), torch.where(short, key_layout.lengths, nothing))
        buckets = [sample_bucket(rule, layout, key_layout, group) for group in groups]
        long = (~short & (layout.lengths > 0) & (key_layout.lengths > 0)).nonzero().flatten()
        if len(long):
            buckets += _Bands(rule, layout, key_layout, long.to(layout.device), size).buckets()
        super().__init__(layout, key_layout, buckets)


def block_size(rule: Rule) -> int:
    """Queries of a block for this rule: about half the band, and no more than its random blocks hold."""
    reach = rule.reach()
    size = max(_SMALLEST, min(_LARGEST, (reach.left + reach.right) // 2))
    return min([size, *(max(blocks.size, _SMALLEST) for blocks in rule.blocks())])


@dataclass(slots=True)
class _Bands:
    """The blocks of the samples that are longer than a band."""

    rule: Rule
    layout: Layout
    key_layout: Layout
    samples: Tensor  # int64 [long samples]
    size: int

    def buckets(self) -> list[Bucket]:
        far = self.rule.rows(self.layout)
        return [self._bands(far), *([] if far is None else self._far_queries(far))]

    def _bands(self, far: Tensor | None) -> Bucket:
        """Queries in stretches of `size`, each with the keys near it and those that are near to everybody."""
        counts = -(-self.layout.lengths.to(self.samples.device)[self.samples] // self.size)
        sample = self.samples.repeat_interleave(counts)
        first = (
            torch.arange(len(sample), device=sample.device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        ) * self.size
        left = (_lengths(self.layout)[sample] - first).clamp(max=self.size)
        query, owned = token_rows(self.layout.offsets[sample] + first, left, self.size)
        if far is not None:
            owned = owned & ~far[query]
        reach = self.rule.reach()
        begin = first + (_start(self.layout) - _start(self.key_layout))[sample]
        band = begin[:, None] + torch.arange(-reach.left, self.size + reach.right, device=sample.device)
        others = self._others(sample, begin, band[:, 0], band[:, -1])
        place = band if others is None else torch.cat([band, others], dim=1)
        key_length = _lengths(self.key_layout)[sample][:, None]
        valid = (place >= 0) & (place < key_length)
        key = self.key_layout.offsets[sample][:, None] + torch.minimum(place.clamp(min=0), key_length - 1)
        bucket = Bucket(query=query, key=key, owned=owned)
        if self.rule.band() is not None and others is None:
            return with_mask(bucket, (_pattern(reach, self.size).to(valid.device) & valid[:, None, :])[:, None])
        return masked(self.rule, self.layout, self.key_layout, bucket, valid)

    def _others(self, sample: Tensor, begin: Tensor, low: Tensor, high: Tensor) -> Tensor | None:
        """Places of keys beyond each block's band, each once; −1 where there are fewer than in other blocks.

        Shapes:
            int64 `[rows]`, four times → `[rows, keys]`, or None where no block has any.
        """
        lists = [self._sinks(sample), self._columns(sample), *self._chosen(sample, begin)]
        place = (
            torch.cat([places for places in lists if places is not None], dim=1)
            if any(x is not None for x in lists)
            else None
        )
        if place is None:
            return None
        outside = (place < low[:, None]) | (place > high[:, None])
        place = torch.where(outside & (place < _lengths(self.key_layout)[sample][:, None]), place, -1)
        place = place.sort(dim=1, descending=True).values
        again = torch.zeros_like(place, dtype=torch.bool)
        again[:, 1:] = place[:, 1:] == place[:, :-1]
        place = place.masked_fill(again, -1)
        used = (place >= 0).any(0)
        return place[:, used] if bool(used.any()) else None

    def _sinks(self, sample: Tensor) -> Tensor | None:
        n = self.rule.reach().sinks
        if not n:
            return None
        return torch.arange(n, device=sample.device) - _start(self.key_layout)[sample][:, None]

    def _columns(self, sample: Tensor) -> Tensor | None:
        columns = self.rule.columns(self.key_layout)
        if columns is None or not bool(columns.any()):
            return None
        tokens, counts = _of_samples(columns, self.key_layout)
        place = tokens - self.key_layout.offsets[self.key_layout.sample[tokens]]
        table = torch.full((self.key_layout.n_samples, int(counts.max())), -1, device=place.device)
        nth = torch.arange(len(tokens), device=place.device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        table[self.key_layout.sample[tokens], nth] = place
        return table[sample]

    def _chosen(self, sample: Tensor, begin: Tensor) -> list[Tensor]:
        """Places of the keys in the blocks that each rule of random blocks draws for the blocks of these queries."""
        found = []
        for blocks in self.rule.blocks():
            start = _start(self.key_layout)[sample]
            index = begin + start
            # A stretch of queries that does not begin with a block touches one block more.
            aligned = self.size % blocks.size == 0 and not bool((index % blocks.size).any())
            touched = self.size // blocks.size if aligned else (self.size - 1) // blocks.size + 2
            mine = index[:, None] // blocks.size + torch.arange(touched, device=index.device)
            n_blocks = -(-_lengths(self.key_layout)[sample] // blocks.size)
            drawn = blocks.chosen(mine, n_blocks[:, None].expand_as(mine)).flatten(1)
            keys = drawn[:, :, None] * blocks.size + torch.arange(blocks.size, device=index.device)
            found.append(keys.flatten(1) - start[:, None])
        return found

    def _far_queries(self, far: Tensor) -> list[Bucket]:
        """Queries that may look anywhere, with all keys of their sample."""
        here = torch.zeros(self.layout.n_samples, dtype=torch.bool, device=far.device).index_fill_(
            0, self.samples, True
        )
        tokens, counts = _of_samples(far & here[self.layout.sample], self.layout)
        if not len(tokens):
            return []
        starts = counts.cumsum(0) - counts
        buckets = []
        for group in grouped(counts.cpu(), self.key_layout.lengths):
            samples = group.to(far.device)
            query, owned = token_rows(starts[samples], counts[samples])
            key, valid = token_rows(self.key_layout.offsets[samples], _lengths(self.key_layout)[samples])
            bucket = Bucket(query=tokens[query], key=key, owned=owned)
            buckets.append(masked(self.rule, self.layout, self.key_layout, bucket, valid))
        return buckets


def _pattern(reach: Reach, size: int) -> Tensor:
    """Who is within reach of whom in a block: the same for every block of a plain window.

    Shapes:
        bool `[queries, keys]`.
    """
    distance = torch.arange(-reach.left, size + reach.right)[None, :] - torch.arange(size)[:, None]
    return (distance >= -reach.left) & (distance <= reach.right)


def _of_samples(marked: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """The marked tokens in their order, and how many each sample has."""
    tokens = marked.nonzero().flatten()
    return tokens, torch.bincount(layout.sample[tokens], minlength=layout.n_samples)


def _lengths(layout: Layout) -> Tensor:
    return layout.offsets[1:] - layout.offsets[:-1]


def _start(layout: Layout) -> Tensor:
    if layout.start is None:
        return torch.zeros(layout.n_samples, dtype=torch.long, device=layout.device)
    return layout.start.to(layout.device)


def _side(reach: int) -> str:
    return "any distance" if reach >= 2**62 else str(reach)
