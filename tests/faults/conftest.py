"""Starts training runs in processes of their own."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from forked import Forked

WORKER = Path(__file__).with_name("worker.py")


@pytest.fixture
def start() -> Iterator[Callable[..., Forked]]:
    """Starts a run in a process group of its own; what is left of it is killed after the test."""
    started: list[Forked] = []

    def begin(folder: Path, **options) -> Forked:
        folder.mkdir(parents=True, exist_ok=True)
        said = [str(folder), *(f"{name}={value}" for name, value in options.items())]
        environment = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "WORLD_SIZE")}
        started.append(Forked(str(WORKER), said, folder=folder, log=folder / "log.txt", environment=environment))
        return started[-1]

    yield begin
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
