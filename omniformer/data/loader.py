"""One data set as batches: drawn in workers, shared between ranks, and resumable after any batch."""

from collections.abc import Iterator, Mapping
from typing import Any

from omniformer.batch import Batch
from omniformer.data.deal import Share, Work
from omniformer.data.empty import Empty
from omniformer.data.plan import Key, TrainPlan, eval_batches
from omniformer.data.samples import SampleError, Samples, check_bad
from omniformer.data.stream import Stream
from omniformer.data.workers import BatchSet, Drawn, engine, guarded


class Bad:
    """Counts samples of a split that could not be read, and stops the run when they are too many for the data set.

    A small split would end a run for two of its samples, and a validation only after an epoch of training.

    Args:
        name: the name of the data set, for messages.
        n_samples: of all its splits together.
        max_fraction: the share of them.
    """

    def __init__(self, name: str, n_samples: int, max_fraction: float) -> None:
        self.name = name
        self.n_samples = n_samples
        self.max_fraction = max_fraction
        self.ids: set[str] = set()

    def add(self, ids: tuple[str, ...]) -> None:
        """Notes the ids.

        Raises:
            SampleError: more than one, and more than `max_fraction` of the samples, are bad; names the first ones.
        """
        self.ids.update(ids)
        check_bad(sorted(self.ids), self.n_samples, self.max_fraction, self.name)


class Feed:
    """The endless training batches of one data set, epoch after epoch, and the place reached.

    The batches of a step are planned for all ranks together and shared out after the shuffle, so the samples of step n
    are the same on one rank and on eight, and with any number of workers. The place counts batches handed out, not
    batches that workers have ready, so nothing is lost or repeated when a run resumes from `state_dict`.

    Args:
        samples: the examples of the training split.
        stream: limits, workers and error policy.
        name: the name of the data set in this run.
        seed: the seed of the run.
        rank: this process, from 0.
        world_size: the number of processes; each gets its share of every batch. At the end of an epoch, where fewer
            samples than ranks may be left, a rank left with nothing gets a batch of no samples.
        work: what a sample of some length costs, by which the ranks get equal work where batches count tokens; its
            tokens alone by default.

    Raises:
        ValueError: there are no samples, `batch_size` does not divide between the ranks, or a sample has more tokens
            than `tokens_per_batch`.
    """

    def __init__(
        self,
        samples: Samples,
        stream: Stream,
        *,
        name: str,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        work: Work | None = None,
    ) -> None:
        self.samples = samples
        self.stream = stream
        self.name = name
        self.seed = seed
        if not len(samples):
            raise ValueError(f"{name} has no training samples")
        check_ranks(stream, name, world_size)
        self.lengths = known_lengths(samples, stream, name)
        self.share = Share(rank=rank, world_size=world_size, lengths=self.lengths, work=work or Work())
        self.bad = Bad(name, max(len(samples), stream.n_samples), stream.max_bad_fraction)
        self.empty = Empty(name, len(samples), stream.max_empty_fraction)
        self.epoch = 0
        self.batch = 0
        classes = stream.classes(name) if stream.sampling == "balanced" else None
        self.plan = TrainPlan(
            len(samples),
            self.lengths,
            stream.limits,
            seed=seed,
            name=name,
            classes=classes,
            window=stream.window,
            forward=stream.source.passes is not None,
        )
        self._iterator: Iterator[Drawn | SampleError] | None = None

    @property
    def n_batches(self) -> int:
        """Batches in the first epoch; with a token budget, later epochs may differ by a few."""
        return len(self.plan.batches(0))

    def __next__(self) -> Batch:
        batch, bad = guarded(self._draw, self.name, self._ids, self.stream.worker_timeout)
        self.batch += 1
        if self.batch == len(self.plan.batches(self.epoch)):
            self.epoch, self.batch = self.epoch + 1, 0
        if self.stream.source.passes is not None:  # each epoch has others
            self.bad.n_samples = len(self.samples) * (self.epoch + 1)
        self.bad.add(bad)
        self.empty.add(batch)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """The place reached, and what it counts on; plain numbers and strings."""
        return {"epoch": self.epoch, "batch": self.batch, "bad": sorted(self.bad.ids), "plan": self._fingerprint()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on behind the last batch handed out before `state` was taken; workers and ranks may have changed.

        Raises:
            ValueError: the data or the batches are not those the state was taken with, so that the place would mean
                another one.
        """
        for key, value in self._fingerprint().items():
            if (old := state["plan"].get(key)) != value:
                raise ValueError(
                    f"{self.name}: cannot resume, {key} was {old} when the checkpoint was written and is {value} now; "
                    f"restore {key}={old}, or begin a new run from the weights"
                )
        self.epoch, self.batch = int(state["epoch"]), int(state["batch"])
        self.bad.ids = set(state["bad"])
        self._iterator = None

    def _fingerprint(self) -> dict[str, Any]:
        limits = self.stream.limits
        return {
            "samples": len(self.samples),
            "tokens": sum(self.lengths) if self.lengths is not None else None,
            "batch_size": limits.batch_size,
            "tokens_per_batch": limits.tokens_per_batch,
            "lengths in a batch": None if self.lengths is None else "as shuffled",
            "seed": self.seed,
            "window": self.stream.window,
            "sampling": None if self.stream.sampling == "all" else self.stream.sampling,
            "fold": None if self.stream.fold is None else f"{self.stream.fold} of {self.stream.folds}",
        }

    def _draw(self) -> Drawn | SampleError:
        if self._iterator is None:
            batches = BatchSet(self.samples, self.stream, name=self.name, seed=self.seed, train=True)
            keys = self.plan.keys(self.epoch, self.batch, self.share)
            self._iterator = engine(batches, keys, self.stream)
        return next(self._iterator)

    def _ids(self) -> list[str]:
        return [self.samples.id(i) for i in self.share.of(self.plan.batches(self.epoch)[self.batch])]


class Evaluation:
    """The batches of one data set for validation or test: every sample once, in order, shared by all ranks.

    Every rank gets equally many batches, so that none waits for another. A rank that is left without a sample of a
    batch gets a batch of no samples; no sample is dropped or counted twice.
    """

    def __init__(
        self,
        samples: Samples,
        stream: Stream,
        *,
        name: str,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        work: Work | None = None,
    ) -> None:
        self.samples = samples
        self.stream = stream
        self.name = name
        self.seed = seed
        lengths = known_lengths(samples, stream, name)
        self.batches = eval_batches(len(samples), lengths, stream.limits)
        self.share = Share(rank=rank, world_size=world_size, lengths=lengths, work=work or Work())
        self.bad = Bad(name, max(len(samples), stream.n_samples), stream.max_bad_fraction)
        self.empty = Empty(name, len(samples), stream.max_empty_fraction)

    def __len__(self) -> int:
        return len(self.batches)

    def _keys(self) -> Iterator[list[Key]]:
        """For this rank, the keys of the samples of each batch."""
        for batch in self.batches:
            yield [(0, i) for i in self.share.of(batch)]

    def __iter__(self) -> Iterator[Batch]:
        batches = BatchSet(self.samples, self.stream, name=self.name, seed=self.seed, train=False)
        iterator = None

        def draw() -> Drawn | SampleError:
            nonlocal iterator
            if iterator is None:
                iterator = engine(batches, self._keys(), self.stream)
            return next(iterator)

        for keys in self._keys():

            def ids(keys: list[Key] = keys) -> list[str]:
                return [self.samples.id(index) for _, index in keys]

            batch, bad = guarded(draw, self.name, ids, self.stream.worker_timeout)
            self.bad.add(bad)
            self.empty.add(batch)
            yield batch


def check_ranks(stream: Stream, name: str, world_size: int) -> None:
    """Raises ValueError unless a batch gives every rank equally many samples."""
    size = stream.limits.batch_size
    if size is not None and size % world_size and stream.limits.tokens_per_batch is None:
        raise ValueError(
            f"{name}: batch_size={size} counts all ranks together and does not divide between {world_size}; "
            f"choose a multiple of {world_size}"
        )


def known_lengths(samples: Samples, stream: Stream, name: str) -> list[int] | None:
    """Tokens of each sample where batches count them; makes each sample once if need be.

    Raises:
        ValueError: a sample has more tokens than a batch may; names it.
    """
    budget = stream.limits.tokens_per_batch
    if budget is None:
        return None
    lengths = samples.lengths(skip=stream.on_error == "skip")
    for index, length in enumerate(lengths):
        if length > budget:
            raise ValueError(
                f"{name}: sample {samples.id(index)!r} has {length} tokens, more than tokens_per_batch={budget}; raise "
                "the budget, or shorten the sample"
            )
    return lengths
