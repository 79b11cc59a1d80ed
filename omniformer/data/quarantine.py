"""Reading files of other libraries' formats while nothing in them can run: Python itself reports what they attempt."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

# What pickles of plain arrays and tables name; PyG keeps the raw files of Planetoid in such.
_PLAIN = {
    "_codecs": ("encode",),
    "builtins": (
        "bytearray",
        "complex",
        "dict",
        "float",
        "frozenset",
        "int",
        "list",
        "object",
        "set",
        "slice",
        "tuple",
    ),
    "collections": ("OrderedDict", "defaultdict"),
    "copyreg": ("_reconstructor",),  # makes an empty object of a class that is on this list as well
    "numpy": ("_frombuffer", "_reconstruct", "dtype", "ndarray", "scalar"),
    "scipy": ("coo_matrix", "csc_matrix", "csr_matrix"),
}
_OLD_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_STARTS = ("os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "os.system", "pty.spawn", "subprocess.")
_CONNECTS = ("socket.bind", "socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request")
_CHANGES = ("os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink")
_CHANGES += ("os.truncate", "os.utime", "shutil.chown", "shutil.move", "shutil.rmtree")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_places: ContextVar[tuple[Path, ...] | None] = ContextVar("quarantine", default=None)
_offline: ContextVar[bool] = ContextVar("offline", default=False)


class QuarantineError(OSError):
    """What was read wanted more than to be read."""


@contextmanager
def quarantine(*, writable: Sequence[Path] = (), offline: bool = False) -> Iterator[None]:
    """While the context lasts, this thread unpickles nothing but plain arrays and containers, starts no program, and
    writes nowhere but in some folders.

    Python's audit events say what is about to happen, whichever library does it; outside of the context nothing is
    looked at. Contexts do not nest wider: an inner one may write where the outer one may.

    Args:
        writable: folders whose content may change.
        offline: whether connections are refused as well.

    Raises:
        QuarantineError: from within, at the attempt; it is an OSError.

    Example:
        >>> with quarantine():
        ...     os.system("true")
        Traceback (most recent call last):
        omniformer.data.quarantine.QuarantineError: a file that is only to be read wants os.system ...
    """
    _listen()
    places = tuple(place.expanduser().resolve() for place in writable)
    outer = _places.get()
    if outer is not None:
        places = tuple(place for place in places if any(place.is_relative_to(each) for each in outer))
    tokens = _places.set(places), _offline.set(offline or _offline.get())
    try:
        yield
    finally:
        _places.reset(tokens[0])
        _offline.reset(tokens[1])


@cache
def _listen() -> None:
    """Asks Python for its events, once; they can never be cancelled, and cost nothing much outside of a context."""
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    places = _places.get()
    if places is None:
        return
    if event == "pickle.find_class":
        module, name = arguments
        if name not in _PLAIN.get(str(_OLD_NAMES.get(module, module)).split(".")[0], ()):
            raise QuarantineError(f"a pickle that is only to be read wants {module}.{name}, which could run anything")
    elif event.startswith(_STARTS) or (event in _CONNECTS and _offline.get()):
        raise QuarantineError(f"a file that is only to be read wants {event} {_shown(arguments)}")
    elif event == "open":
        path, mode, flags = arguments
        if _writes(mode, flags) and not _is_free(path, places):
            raise QuarantineError(f"a file that is only to be read wants to write {_shown(path)}")
    elif event in _CHANGES:
        for path in (argument for argument in arguments[:2] if isinstance(argument, str | bytes | os.PathLike)):
            if not _is_free(path, places) and not (event == "os.mkdir" and _is_above(path, places)):
                raise QuarantineError(f"a file that is only to be read wants {event} {_shown(path)}")


def _writes(mode: Any, flags: Any) -> bool:
    return bool(set(mode or "") & set("wax+")) or bool(isinstance(flags, int) and flags & _WRITING)


def _is_free(path: Any, places: tuple[Path, ...]) -> bool:
    if isinstance(path, int) or path is None:  # a file that is open already
        return True
    place = Path(os.path.realpath(os.fsdecode(path)))
    return place == Path(os.devnull) or any(place.is_relative_to(each) for each in places)


def _is_above(path: Any, places: tuple[Path, ...]) -> bool:
    """Whether a folder must be there before such a place can be."""
    return any(Path(os.path.realpath(os.fsdecode(path))) in place.parents for place in places)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
