"""Argument checks that every tokenizer words the same way."""

from importlib import import_module
from typing import Any


def at_least(smallest: float, **values: float | None) -> None:
    """Refuses numbers below `smallest`; None passes.

    Raises:
        ValueError: a value is smaller; names it.
    """
    for name, value in values.items():
        if value is not None and value < smallest:
            raise ValueError(f"{name}={value} is too small; give {smallest} or more")


def one_of(accepted: tuple[str, ...], **values: str) -> None:
    """Refuses words outside `accepted`.

    Raises:
        ValueError: a value is none of them; names it and what is accepted.
    """
    for name, value in values.items():
        if value not in accepted:
            raise ValueError(f"{name}={value!r} is not known; choose one of {', '.join(map(repr, accepted))}")


def need(module: str, purpose: str) -> Any:
    """The optional library `module`, imported now.

    Raises:
        ImportError: it is not installed; one sentence with the line that installs it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        package = module.partition(".")[0]
        library = {"PIL": "pillow"}.get(package, package)  # the name under which it is installed
        raise ImportError(f"{purpose} needs {package}, which is not installed: pip install {library}") from error
