"""Batches as workers make them, of keys in a given order, and what ends a run whose workers do not."""

import gc
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import fields, replace
from typing import Any

import torch
from omniformer_tokenizers import Packed
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from omniformer.batch import Batch, Sample, collate
from omniformer.data.plan import Key
from omniformer.data.random import generator
from omniformer.data.samples import SampleError, Samples
from omniformer.data.stream import Stream

Drawn = tuple[Batch, tuple[str, ...]]  # a batch, and the ids of samples that could not be read
_TRIES = 10
_WAIT = 5.0  # seconds between two looks at whether the workers are alive


def _start_worker(worker: int) -> None:
    # What was inherited is not for this process to clean up: a dead loader among it would wait for other workers.
    gc.freeze()
    gc.enable()
    # The tokenizers library warns, and may dead-lock, when it uses threads after a fork.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


@contextmanager
def _untidied() -> Iterator[None]:
    """Forked workers find the search for garbage off, until `_start_worker` has put aside what they inherited."""
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            gc.enable()


def engine(batches: "BatchSet", keys: Iterator[list[Key]], stream: Stream) -> Iterator[Drawn | SampleError]:
    """The one place where torch's data workers are started: batches for the given keys, in that order."""
    # A plain loader serves: keys are all the state there is, and Feed counts them.
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=keys,
        num_workers=stream.num_workers,
        timeout=min(_WAIT, stream.worker_timeout) if stream.num_workers else 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_start_worker,
    )
    with _untidied() if stream.num_workers else nullcontext():
        return iter(loader)


class BatchSet(Dataset[Drawn | SampleError]):
    """Makes the batch of a list of (epoch, index) keys; this is what travels to the workers."""

    def __init__(self, samples: Samples, stream: Stream, *, name: str, seed: int, train: bool) -> None:
        self.samples = samples
        self.skip = stream.on_error == "skip"
        self.replace = train and stream.limits.tokens_per_batch is None and samples.replaceable
        self.name = name
        self.seed = seed

    def __getitem__(self, keys: list[Key]) -> Drawn | SampleError:
        bad: list[str] = []
        try:
            samples = self._samples(keys, bad)
            batch = collate(samples) if samples else self._empty(bad)
        except SampleError as error:
            # Handed over for `guarded` to raise: torch would wrap an error of a worker in that worker's traceback.
            return error
        return batch, tuple(bad)

    def _samples(self, keys: list[Key], bad: list[str]) -> list[Sample]:
        """All at once; where one cannot be made, one by one, so that the others are."""
        try:
            return self.samples.many(keys)
        except SampleError:
            return [sample for key in keys if (sample := self._sample(*key, bad)) is not None]

    def _sample(self, epoch: int, index: int, bad: list[str]) -> Sample | None:
        chance = None
        for _ in range(_TRIES):
            try:
                return self.samples(epoch, index)
            except SampleError as error:
                if not self.skip:
                    raise SampleError(f"{error}; data.on_error=skip passes over it") from error
                bad.append(self.samples.named(epoch, index))
                if not self.replace:
                    return None
                chance = chance or generator(self.seed, epoch, bad[-1], "replacement")
                index = int(torch.randint(len(self.samples), (), generator=chance))
        raise SampleError(f"{_TRIES} samples of {self.name} in a row cannot be read: {', '.join(bad[-_TRIES:])}")

    def _empty(self, bad: list[str]) -> Batch:
        """A batch of no samples, with the fields that this data set's batches have."""
        for index in range(min(len(self.samples), _TRIES)):
            try:
                return emptied(collate([self.samples(0, index)]))
            except SampleError:
                if not self.skip:
                    raise
        raise SampleError(f"the first {_TRIES} samples of {self.name} cannot be read: {', '.join(bad[-_TRIES:])}")


def emptied(batch: Batch) -> Batch:
    """The batch without its samples: the same fields and widths, zero rows; what a rank without work evaluates."""
    return _no_rows(batch)


def _no_rows(value: Any, name: str = "") -> Any:
    if isinstance(value, Tensor):
        return value[:, :0] if name == "edges" else value[:0]
    if isinstance(value, Batch | Packed):
        return replace(value, **{f.name: _no_rows(getattr(value, f.name), f.name) for f in fields(value)})
    if isinstance(value, Mapping):
        return {key: _no_rows(item, key) for key, item in value.items()}
    return () if isinstance(value, tuple) else value


def guarded(draw: Callable[[], Drawn | SampleError], name: str, ids: Callable[[], list[str]], patience: float) -> Drawn:
    """The next batch; raises the error of a sample that stands in its place.

    When a worker died, or no batch is ready within `patience` seconds, it names the samples waited for. torch notices a
    dead worker by a signal, whose handler others may have replaced (Lightning puts old ones back), or when its own wait
    ends: so it waits a few seconds at a time.
    """
    waited = 0.0
    while True:
        try:
            drawn = draw()
            break
        except (RuntimeError, OSError, EOFError) as error:
            timed_out = str(error).startswith("DataLoader timed out")
            waited += min(_WAIT, patience)
            if timed_out and waited < patience:
                continue
            if isinstance(error, RuntimeError) and "DataLoader" not in str(error):
                raise
            cause = f"no worker had a batch ready within worker_timeout={patience:g} seconds"
            if not timed_out:
                # A worker that dies while it hands a batch over shows as a broken connection.
                cause = str(error) if isinstance(error, RuntimeError) else f"a worker ended unexpectedly ({error!r})"
            shown = ids()
            more = ", ..." if len(shown) > 8 else ""
            raise RuntimeError(
                f"data of {name}: {cause}; the batch waited for: {', '.join(shown[:8])}{more}"
            ) from error
    if isinstance(drawn, SampleError):
        raise drawn
    return drawn
