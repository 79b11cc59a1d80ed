"""How far a long step before or beside training is: a bar on a terminal, plain lines in a file."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Protocol, TypeVar

import torch
from torch.utils.data import get_worker_info

Item = TypeVar("Item")
_SILENT = 1.0  # seconds: what takes less is over before anybody has read of it
_EVERY = 10.0  # seconds between plain lines, as of training
_shown: list["_View"] = []  # one at a time: a long step inside another one stays silent


class _View(Protocol):
    def show(self, done: int) -> None: ...

    def close(self, done: int) -> None: ...


def counted(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """The same items, and on stderr how many are done and how long the rest takes, once that has taken a second.

    On a terminal this is one live bar in the form of that of training, which is gone at the end; elsewhere (a file, a
    notebook, a batch job) a plain line from time to time, and one at the end. Data workers and all ranks but the first
    say nothing.

    Args:
        items: whatever is gone through.
        what: is done with them, such as "fitting a vocabulary".
        total: how many there are, where that is known.

    Example:
        >>> list(counted("abc", "reading letters", 3))
        ['a', 'b', 'c']
    """
    if get_worker_info() is not None or _rank() != 0:
        yield from items
        return
    began, done, view = time.perf_counter(), 0, None
    try:
        for item in items:
            yield item
            done += 1
            if view is None and not _shown and time.perf_counter() - began >= _SILENT:
                view = _Bar(what, total) if sys.stderr.isatty() else _Lines(what, total, began)
                _shown.append(view)
            if view is not None:
                view.show(done)
    finally:
        if view is not None:
            _shown.remove(view)
            view.close(done)


def _rank() -> int:
    """Which process this is, before and after they have found each other."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank()
    return int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0)


class _Bar:
    """One live line on a terminal."""

    def __init__(self, what: str, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.percentage:.0f}%"),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            refresh_per_second=4,
        )
        self._task = self._progress.add_task(what, total=total)
        self._progress.start()

    def show(self, done: int) -> None:
        self._progress.update(self._task, completed=done)

    def close(self, done: int) -> None:
        self._progress.stop()


class _Lines:
    """Plain lines, each whole and at once."""

    def __init__(self, what: str, total: int | None, began: float) -> None:
        self._what, self._total, self._began, self._last = what, total, began, float("-inf")

    def show(self, done: int) -> None:
        now = time.perf_counter()
        if now - self._last < _EVERY or done == self._total:
            return
        self._last = now
        if self._total is None:
            self._say(f"{done:,}")
            return
        left = timedelta(seconds=round((now - self._began) / done * max(self._total - done, 0)))
        self._say(f"{done:,} of {self._total:,}, {left} left")

    def close(self, done: int) -> None:
        self._say(f"{done:,} in {timedelta(seconds=round(time.perf_counter() - self._began))}")

    def _say(self, numbers: str) -> None:
        print(f"{self._what}: {numbers}", file=sys.stderr, flush=True)
