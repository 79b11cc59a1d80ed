"""How this program was called: `omniformer predict`, `python -m omniformer.predict`, or a script of somebody's own."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from omniformer import __version__

_verb: ContextVar[str | None] = ContextVar("verb", default=None)
_typed: ContextVar[tuple[str, ...]] = ContextVar("typed", default=())


@contextmanager
def under(verb: str) -> Iterator[None]:
    """Says, while the context lasts, that a command runs as a verb of `omniformer`."""
    token = _verb.set(verb)
    try:
        yield
    finally:
        _verb.reset(token)


def verb() -> list[str]:
    """The verb, as arguments that stand before a command's own; empty for a command that was started by itself."""
    return [] if (known := _verb.get()) is None else [known]


@contextmanager
def typed(words: Sequence[str]) -> Iterator[None]:
    """Notes, while the context lasts, what makes this run again: the words behind `omniformer`."""
    token = _typed.set(tuple(words))
    try:
        yield
    finally:
        _typed.reset(token)


def again() -> str:
    """The command that makes this run again, in one line; empty where no command line began it, or one that takes more
    than a line.

    Example:
        >>> with typed(["train", "name=my run"]):
        ...     again()
        "omniformer train 'name=my run'"
    """
    command = shlex.join(["omniformer", *_typed.get()]) if _typed.get() else ""
    return command if len(command.splitlines()) == 1 else ""


def called(name: str | None = None) -> str:
    """How to call this command again, for the texts of `--help`.

    Args:
        name: the verb of a command that may also be called as a function, where no command line tells how.

    Example:
        >>> with under("train"):
        ...     called()
        'omniformer train'
    """
    module = _main_module()
    if known := verb():
        return f"{program()} {known[0]}"
    if module.startswith("omniformer.") or (module and name is None):
        return f"python -m {module}"
    return f"omniformer {name}" if name else f"python {Path(sys.argv[0]).name}"


def program() -> str:
    """How to call the command whose verbs are all others."""
    return "python -m omniformer" if _main_module() == "omniformer" else "omniformer"


def _main_module() -> str:
    """The module or package that runs as the program; empty for a script."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return "" if spec is None else spec.name.removesuffix(".__main__")


def versions() -> str:
    """Our version, and those of torch and Python, read from what is installed; nothing is imported.

    Example:
        >>> versions().split()[0]
        'omniformer'
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "not installed"
    python = ".".join(map(str, sys.version_info[:3]))
    return f"omniformer {__version__} (torch {torch}, Python {python})"
