"""Notices what an attack would do: start a program, connect, import, or read and write outside of a few folders."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_STARTS = ("os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen", "socket.connect")
_notes: ContextVar[tuple[Path, Path, list[str]] | None] = ContextVar("canary", default=None)
_listening = False


@contextmanager
def canary(folder: Path, outside: Path) -> Iterator[list[str]]:
    """What happens in this thread meanwhile that should not: nothing, if all is well.

    Args:
        folder: of the stranger; whatever is opened for writing must lie in it.
        outside: nothing in here may be opened at all.
    """
    global _listening
    if not _listening:
        sys.addaudithook(_hear)
        _listening = True
    notes: list[str] = []
    token = _notes.set((folder.resolve(), outside.resolve(), notes))
    try:
        yield notes
    finally:
        _notes.reset(token)


def _hear(event, arguments):
    watched = _notes.get()
    if watched is None:
        return
    folder, outside, notes = watched
    if event.startswith(_STARTS):
        notes.append(f"{event} {arguments}")
    elif event == "import" and str(arguments[0]).startswith("hostile_"):
        notes.append(f"import {arguments[0]}")
    elif event == "open" and isinstance(arguments[0], str | bytes):
        path, mode, flags = arguments
        place = Path(os.path.realpath(os.fsdecode(path)))
        writes = bool(set(mode or "") & set("wax+")) or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if place.is_relative_to(outside):
            notes.append(f"open {place} {mode}")
        elif writes and not place.is_relative_to(folder) and not {"__pycache__", "null"} & set(place.parts):
            notes.append(f"write {place}")
