"""A model with everything around it that endpoints share: its engine, what it takes, its limits."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from omniformer.generation import Writer
from omniformer.generation.texts import Streamed
from omniformer.generation.write import DEFAULT_LENGTH
from omniformer.inputs import Named
from omniformer.predictor import Predictor
from omniformer.serving.engine import Engine
from omniformer.serving.limits import Limits
from omniformer.serving.metrics import Metrics
from omniformer.serving.received import Reader
from omniformer.serving.work import Wish, Work, Writing


class Service:
    """A model that is served.

    Args:
        predictor: the model.
        name: what clients call it.
        limits: how much it takes on.
    """

    def __init__(self, predictor: Predictor, *, name: str, limits: Limits) -> None:
        self.predictor, self.name, self.limits = predictor, name, limits
        self.metrics = Metrics()
        self.reader = Reader(predictor, limits)
        self.usual = predictor.usual_writing
        self.engine = Engine(
            predictor,
            self.metrics,
            max_batch=limits.max_batch,
            window=limits.window,
            max_waiting=limits.max_waiting,
            max_streams=limits.max_streams,
            max_tokens=limits.max_tokens,
        )

    def writing(self, member: str | None, wish: Wish, *, usual: bool = False) -> Writing:
        """The work of writing, no longer than may be.

        Args:
            member: which task writes, where several do.
            wish: how.
            usual: whether what the model's files recommend counts where the wish says nothing.

        Raises:
            ValueError: more is wished for, or no task writes.
        """
        maker, most = self.predictor.writer(member), self.limits.max_new_tokens
        if wish.max_new_tokens is not None and wish.max_new_tokens > most:
            raise ValueError(f"max_tokens={wish.max_new_tokens} is more than the {most} that are written here")
        recommended = self.usual if usual else {}
        if isinstance(maker, Writer) and maker.writes_text and wish.max_new_tokens is None:
            wish = replace(wish, max_new_tokens=min(recommended.get("max_new_tokens", DEFAULT_LENGTH), most))
        return Writing(member=member, wish=wish, usual=recommended)

    async def results(self, work: Work[Any], named: Named) -> Sequence[Any]:
        """What becomes of each input: its result, or the error that there is, of one that was bad already its own.

        Raises:
            BusyError: too much waits already.
            TimeoutError: it takes too long.
        """
        futures = self.engine.submit(work, [(name, raw) for name, raw in named if not isinstance(raw, Exception)])
        every = asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True)
        try:
            found = iter(await asyncio.wait_for(every, self.limits.seconds))
        except TimeoutError:
            raise TimeoutError(f"no answer within {self.limits.seconds:g} seconds; ask for less, or later") from None
        return [raw if isinstance(raw, Exception) else next(found) for _, raw in named]

    @asynccontextmanager
    async def pieces(self, work: Writing, name: str, raw: Any) -> AsyncIterator["Pieces"]:
        """The pieces of a text as they are written; who leaves ends the writing.

        Raises:
            BusyError: too much waits already.
        """
        pieces = Pieces(self.limits.seconds)
        future = self.engine.stream(work, name, raw, pieces.put)
        future.add_done_callback(pieces.end)
        try:
            yield pieces
        finally:
            pieces.gone = True
            future.cancel()


class Pieces:
    """Pieces of a text on their way from the thread of the model to a client.

    Args:
        seconds: how long to wait for each.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.gone = False  # whether nobody reads them any more
        self.whole: Streamed | None = None
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[str | BaseException | None] = asyncio.Queue()

    def put(self, piece: str) -> None:
        """Takes a piece, from the thread of the model.

        Raises:
            CancelledError: nobody wants more.
        """
        if self.gone:
            raise CancelledError
        self._loop.call_soon_threadsafe(self._queue.put_nowait, piece)

    def end(self, done: Future[Streamed]) -> None:
        """Says that no more will come, from the thread of the model."""
        if self.gone:
            return
        error = done.exception()
        self.whole = done.result() if error is None else None
        self._loop.call_soon_threadsafe(self._queue.put_nowait, error)

    async def next(self) -> str | None:
        """The next piece; None at the end.

        Raises:
            TimeoutError: it takes too long.
            ValueError: the prompt cannot be read.
        """
        try:
            piece = await asyncio.wait_for(self._queue.get(), self.seconds)
        except TimeoutError:
            raise TimeoutError(f"no piece within {self.seconds:g} seconds; ask for less, or later") from None
        if isinstance(piece, BaseException):
            raise piece
        return piece
