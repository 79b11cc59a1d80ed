"""Which samples make which batch: a pure function of seed, epoch and lengths, the same on every rank and worker."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from omniformer.data.deal import Share
from omniformer.data.random import generator, permutation, windowed

Key = tuple[int, int]  # epoch and index of a sample: all that decides what it looks like


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a batch is full: at `batch_size` samples or before `tokens_per_batch` tokens, whichever comes first.

    Both count a whole step: all ranks together.

    Raises:
        ValueError: neither limit is given, or one is below 1.
    """

    batch_size: int | None = None
    tokens_per_batch: int | None = None

    def __post_init__(self) -> None:
        if self.batch_size is None and self.tokens_per_batch is None:
            raise ValueError("batch_size and tokens_per_batch are both null; a batch needs at least one limit")
        for name in ("batch_size", "tokens_per_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1")


class Cut(Sequence[list[int]]):
    """An order of samples cut into batches, each made when it is asked for: eight bytes a sample are all that is kept.

    Args:
        order: the samples; None for 0, 1, 2, ..., of which nothing is kept.
        edges: batch number i begins at `edges(i)` and ends before `edges(i + 1)`.
        n_batches: how many there are.

    Example:
        >>> list(Cut(torch.tensor([2, 0, 1]), lambda i: min(2 * i, 3), 2))
        [[2, 0], [1]]
    """

    def __init__(self, order: Tensor | None, edges: Callable[[int], int], n_batches: int) -> None:
        self.order, self.edges, self.n_batches = order, edges, n_batches

    def __len__(self) -> int:
        return self.n_batches

    @overload
    def __getitem__(self, index: int) -> list[int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...
    def __getitem__(self, index: int | slice) -> list[int] | list[list[int]]:
        numbers = range(self.n_batches)[index]  # counts from the end, and refuses what is out of range
        return self._batch(numbers) if isinstance(numbers, int) else [self._batch(number) for number in numbers]

    def _batch(self, number: int) -> list[int]:
        begin, end = self.edges(number), self.edges(number + 1)
        return list(range(begin, end)) if self.order is None else self.order[begin:end].tolist()


def train_batches(
    length: int,
    lengths: Sequence[int] | None,
    limits: Limits,
    *,
    seed: int,
    epoch: int,
    name: str,
    classes: Sequence[int] | None = None,
    window: int | None = None,
    forward: bool = False,
) -> Sequence[list[int]]:
    """The batches of one training epoch, as indices of samples in a shuffled order: every sample once, or as many with
    each class equally often.

    Args:
        length: the number of samples.
        lengths: tokens of each sample; needed where `limits` counts tokens.
        limits: when a batch is full.
        seed: the seed of the run.
        epoch: which epoch, from 0.
        name: the name of the data set, so that two sets of one run are shuffled differently.
        classes: of each sample, where each class is to be drawn equally often; None takes every sample once.
        window: shuffles within windows of so many samples; None shuffles all of them together.
        forward: whether windows follow each other as samples do, for those that are read forwards alone.

    Example:
        >>> batches = train_batches(5, None, Limits(batch_size=2), seed=0, epoch=0, name="digits")
        >>> [len(batch) for batch in batches], sorted(i for batch in batches for i in batch)
        ([2, 2, 1], [0, 1, 2, 3, 4])
    """
    if classes is not None:
        order = torch.tensor(balanced(classes, generator(seed, epoch, name, "balanced classes")))
    elif window is not None:
        order = windowed(length, window, seed, epoch, name, forward=forward)
    else:
        order = permutation(length, seed, epoch, name)
    if limits.tokens_per_batch is None or lengths is None:
        size = limits.batch_size or length
        return Cut(order, lambda i: min(i * size, length), -(-length // max(size, 1)))
    return _filled(order, lengths, limits)


def balanced(classes: Sequence[int], chance: torch.Generator) -> list[int]:
    """As many samples as there are, each class equally often (but for one where it does not come out even), shuffled.

    Of a class that has too many, some are drawn, none twice; of one that has too few, each is taken equally often, but
    for one where it does not come out even.

    Args:
        classes: of each sample.
        chance: what is drawn by.

    Example:
        >>> order = balanced([0, 0, 0, 0, 0, 1], torch.Generator().manual_seed(0))
        >>> order.count(5), len(set(order))
        (3, 4)
    """
    members: dict[int, list[int]] = {}
    for index, label in enumerate(classes):
        members.setdefault(label, []).append(index)
    labels = sorted(members)
    share, rest = divmod(len(classes), len(labels))
    more = set(torch.randperm(len(labels), generator=chance)[:rest].tolist())
    drawn: list[int] = []
    for place, label in enumerate(labels):
        wanted, own = share + (place in more), members[label]
        times, some = divmod(wanted, len(own))
        drawn += own * times + [own[i] for i in torch.randperm(len(own), generator=chance)[:some].tolist()]
    return [drawn[i] for i in torch.randperm(len(drawn), generator=chance).tolist()]


class TrainPlan:
    """The batches of all training epochs of one data set, and the keys by which workers make them.

    It refers to nothing else, so that the workers that walk along it end with the one who started them.
    """

    def __init__(
        self,
        length: int,
        lengths: Sequence[int] | None,
        limits: Limits,
        *,
        seed: int,
        name: str,
        classes: Sequence[int] | None = None,
        window: int | None = None,
        forward: bool = False,
    ) -> None:
        self.length = length
        self.lengths = lengths
        self.limits = limits
        self.seed = seed
        self.name = name
        self.classes = classes
        self.window, self.forward = window, forward
        self._epochs: dict[int, Sequence[list[int]]] = {}

    def batches(self, epoch: int) -> Sequence[list[int]]:
        """The batches of one epoch; the first and the last few epochs asked for are kept."""
        if epoch not in self._epochs:
            self._epochs = {e: kept for e, kept in self._epochs.items() if e in (0, epoch - 1, epoch + 1)}
            self._epochs[epoch] = train_batches(
                self.length,
                self.lengths,
                self.limits,
                seed=self.seed,
                epoch=epoch,
                name=self.name,
                classes=self.classes,
                window=self.window,
                forward=self.forward,
            )
        return self._epochs[epoch]

    def keys(self, epoch: int, batch: int, share: Share) -> Iterator[list[Key]]:
        """For one rank, the (epoch, index) of the samples of each batch from the given place on, without end."""
        while True:
            batches = self.batches(epoch)
            for number in range(batch, len(batches)):
                yield [(epoch, index) for index in share.of(batches[number])]
            epoch, batch = epoch + 1, 0


def eval_batches(length: int, lengths: Sequence[int] | None, limits: Limits) -> Sequence[list[int]]:
    """The batches of one evaluation: every sample once, in the order of the data set.

    Batches of a fixed size are made even (their sizes differ by at most one), so that the last one has enough samples
    for every rank.

    Example:
        >>> list(eval_batches(5, None, Limits(batch_size=4)))
        [[0, 1], [2, 3, 4]]
    """
    if limits.tokens_per_batch is not None and lengths is not None:
        return _filled(None, lengths, limits)
    n = -(-length // (limits.batch_size or max(length, 1)))
    return Cut(None, lambda i: i * length // n, n)


def _filled(order: Tensor | None, lengths: Sequence[int], limits: Limits) -> Cut:
    """Batches as full as they get in the given order: long and short samples meet, as it shuffled them."""
    budget, size = limits.tokens_per_batch or 0, limits.batch_size or len(lengths)
    indices = range(len(lengths)) if order is None else order.tolist()
    edges, tokens = [0], 0
    for place, index in enumerate(indices):
        if place > edges[-1] and (tokens + lengths[index] > budget or place - edges[-1] == size):
            edges.append(place)
            tokens = 0
        tokens += lengths[index]
    return Cut(order, [*edges, len(indices)].__getitem__, len(edges) if indices else 0)
