"""One thread that owns the model, and what waits for it: inputs of many clients, in batches of one kind of work."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any

from omniformer.inputs import Named, at_most
from omniformer.predictor import Predictor
from omniformer.serving.metrics import Metrics
from omniformer.serving.work import Work, Writing

log = logging.getLogger(__name__)


class BusyError(RuntimeError):
    """More waits for the model than may, or the server is about to end."""


@dataclass(slots=True, eq=False)
class Job:
    """One input that waits for the model, or is with it.

    Args:
        work: what to do with it.
        name: of the input, for messages.
        raw: the input.
        told: for a text that is streamed, called with each piece, from the thread of the model.
        done: has the result in the end; of a streamed text how it ended.
    """

    work: Work[Any]
    name: str
    raw: Any
    told: Callable[[str], None] | None = None
    done: Future[Any] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class Engine:
    """Batches what clients ask for.

    The oldest input that waits decides what is done next; those that want the same of the model, with the same options,
    join it, whoever sent them, after a short window in which more may come. Texts that are streamed take turns with the
    batches, a piece of each at a time.

    Args:
        predictor: the model; from now on only this engine uses it.
        metrics: counts.
        max_batch: inputs in one batch.
        window: how long the first input of a batch waits for others, in seconds.
        max_waiting: inputs that wait or are with the model; more are refused, so that memory is bounded.
        max_streams: texts that are streamed at a time; others wait.
        max_tokens: tokens of one content, see `omniformer.inputs.at_most`.

    Raises:
        ValueError: a number is below its least.

    Example:
        >>> engine = Engine(load("outputs/vision/latest"), Metrics())  # doctest: +SKIP
        >>> (said,) = engine.submit(Predicting(), [("seven.png", Path("seven.png"))])  # doctest: +SKIP
        >>> said.result()[0].label  # doctest: +SKIP
        '7'
    """

    def __init__(
        self,
        predictor: Predictor,
        metrics: Metrics,
        *,
        max_batch: int = 32,
        window: float = 0.005,
        max_waiting: int = 256,
        max_streams: int = 8,
        max_tokens: int = 16_384,
    ) -> None:
        numbers = {
            "max_batch": max_batch,
            "max_waiting": max_waiting,
            "max_streams": max_streams,
            "max_tokens": max_tokens,
        }
        if low := [name for name, number in numbers.items() if number < 1]:
            raise ValueError(f"{low[0]}={numbers[low[0]]} must be at least 1")
        if window < 0:
            raise ValueError(f"window={window} must be at least 0 seconds")
        self.predictor, self.metrics, self.window = predictor, metrics, window
        self.max_batch, self.max_waiting, self.max_streams, self.max_tokens = (
            max_batch,
            max_waiting,
            max_streams,
            max_tokens,
        )
        self._waiting: deque[Job] = deque()
        self._with_model: list[Job] = []
        self._streams: deque[tuple[Job, Iterator[str]]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it takes and does work."""
        return self._thread.is_alive() and not self._closing

    def submit(self, work: Work[Any], named: Named) -> list[Future[Any]]:
        """Has something done with inputs, all of them or none.

        Args:
            work: what.
            named: with their names.

        Returns:
            For each input what will hold its result, or the reason why there is none; cancelling one that still waits
            takes it out.

        Raises:
            BusyError: too much waits already.
        """
        return [job.done for job in self._take([Job(work, name, raw) for name, raw in named])]

    def stream(self, work: Writing, name: str, raw: Any, told: Callable[[str], None]) -> Future[Any]:
        """Has a text written, a piece at a time.

        Args:
            work: how.
            name: of the prompt.
            raw: the prompt.
            told: called with each piece, from the thread of the model; raises `CancelledError` to have no more.

        Returns:
            What will hold the `Streamed` text once it is whole.

        Raises:
            BusyError: too much waits already.
        """
        (job,) = self._take([Job(work, name, raw, told)])
        return job.done

    def close(self, timeout: float | None = None) -> bool:
        """Takes nothing new, finishes what was taken, and ends.

        Args:
            timeout: how long to wait for that, in seconds.

        Returns:
            Whether all is finished.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _take(self, jobs: list[Job]) -> list[Job]:
        with self._changed:
            held = len(self._waiting) + len(self._with_model) + len(self._streams)
            if not self.alive:
                raise BusyError("the server is about to end and takes nothing new; ask another one")
            if held + len(jobs) > self.max_waiting:
                raise BusyError(f"{held} inputs wait already and {len(jobs)} more are too many; try again soon")
            self._waiting += jobs
            self._tell_waiting()
            self._changed.notify_all()
        return jobs

    def _run(self) -> None:
        try:
            with at_most(self.max_tokens):
                while (jobs := self._next()) is not None:
                    try:
                        if jobs:
                            self._do(jobs)
                        self._turn()
                    except Exception as error:  # the thread lives on: with it, all who wait would lose their answers
                        log.exception("the engine failed")
                        for job in jobs:
                            if job.told is None and not job.done.done():
                                _finish(job, error)
                    with self._changed:
                        self._with_model = []
        except BaseException:  # also the SystemExit of a library
            log.exception("the thread of the model ends")
            self._leave_nobody()

    def _leave_nobody(self) -> None:
        """Where the thread ends before its time, who waits is told that no answer will come."""
        with self._changed:
            self._closing = True
            left = [*self._with_model, *self._waiting, *(job for job, _ in self._streams)]
            self._with_model, self._waiting, self._streams = [], deque(), deque()
            self._tell_waiting()
        for job in left:
            # From here on nobody can cancel it.
            if job.done.running() or (not job.done.done() and job.done.set_running_or_notify_cancel()):
                _finish(job, RuntimeError("the thread of the model has ended; the log says why"))

    def _next(self) -> list[Job] | None:
        """The next batch, none where only streams go on; None at the end."""
        with self._changed:
            self._tell_waiting()  # of streams that have ended
            while not self._waiting and not self._streams:
                if self._closing:
                    return None
                self._changed.wait()
            # The turns of streams are window enough.
            wait = 0.0 if self._streams else self._waiting[0].since + self.window - time.monotonic()
            self._changed.wait_for(
                lambda: self._closing or len(self._waiting) >= self.max_batch, timeout=max(wait, 0.0)
            )
            jobs = self._chosen()
            self._with_model = jobs
            self._tell_waiting()
        return jobs

    def _chosen(self) -> list[Job]:
        """Takes the oldest job and those like it out of the queue; a text to be streamed comes alone."""
        free = len(self._streams) < self.max_streams
        first = next((job for job in self._waiting if job.told is None or free), None)
        if first is None:
            return []
        like = [job for job in self._waiting if job.told is None and job.work == first.work][: self.max_batch]
        chosen = like if first.told is None else [first]
        taken = set(map(id, chosen))
        self._waiting = deque(job for job in self._waiting if id(job) not in taken)
        return [job for job in chosen if job.done.set_running_or_notify_cancel()]

    def _do(self, jobs: Sequence[Job]) -> None:
        """Does the work of a batch; whatever goes wrong, every job has its answer."""
        if jobs[0].told is not None:
            self._begin(jobs[0])
            return
        now = time.monotonic()
        results = self._results(jobs)
        self.metrics.batch(jobs[0].work, len(jobs), time.monotonic() - now, [now - job.since for job in jobs])
        for job, result in zip(jobs, results, strict=True):
            _finish(job, result)

    def _results(self, jobs: Sequence[Job]) -> list[Any]:
        """What becomes of each job of a batch; where the batch fails, of each alone, so that one spoils no other."""
        try:
            results = list(jobs[0].work.run(self.predictor, [(job.name, job.raw) for job in jobs]))
            if len(results) != len(jobs):
                raise RuntimeError(f"{jobs[0].work} gave {len(results)} results for {len(jobs)} inputs")
            return results
        except Exception as error:
            if len(jobs) > 1:
                return [result for job in jobs for result in self._results([job])]
            self._tell_fault(error)
            return [error]

    def _begin(self, job: Job) -> None:
        assert isinstance(job.work, Writing)
        try:
            pieces = job.work.stream(self.predictor, job.raw)
        except Exception as error:
            self._tell_fault(error)
            _finish(job, error)
            return
        self.metrics.batch(job.work, 1, 0.0, [time.monotonic() - job.since])
        with self._changed:
            self._streams.append((job, pieces))

    def _turn(self) -> None:
        """Goes on with each streamed text by a piece."""
        for _ in range(len(self._streams)):
            job, pieces = self._streams[0]
            goes_on = self._goes_on(job, pieces)
            with self._changed:
                self._streams.popleft()
                if goes_on:
                    self._streams.append((job, pieces))

    def _goes_on(self, job: Job, pieces: Iterator[str]) -> bool:
        try:
            piece = next(pieces, None)
            if piece is not None:
                assert job.told is not None
                job.told(piece)
                return True
            _finish(job, pieces)
        except CancelledError as gone:  # whoever asked for it
            _finish(job, gone)
        except Exception as error:
            self._tell_fault(error)
            _finish(job, error)
        return False

    def _tell_waiting(self) -> None:
        self.metrics.waiting.set(len(self._waiting) + len(self._streams))

    def _tell_fault(self, error: Exception) -> None:
        """A mistake of ours goes into the log; what clients did wrong they are told themselves."""
        if not isinstance(error, ValueError | OSError):
            log.error("a batch failed", exc_info=error)


def _finish(job: Job, result: Any) -> None:
    if isinstance(result, StopIteration):  # of which asyncio tells nobody who waits
        result = RuntimeError(f"{job.work} ended in a StopIteration")
    if isinstance(result, Exception):
        job.done.set_exception(result)
    else:
        job.done.set_result(result)
