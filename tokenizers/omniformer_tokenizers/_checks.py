"""Argument checks that every tokenizer words the same way."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from omniformer_tokenizers.versions import fitting


def at_least(smallest: float, **values: float | None) -> None:
    """Refuses numbers below `smallest`; None passes.

    Raises:
        ValueError: a value is smaller; names it.
    """
    for name, value in values.items():
        if value is not None and value < smallest:
            raise ValueError(f"{name}={value} is too small; give {smallest} or more")


def sides(size: int | Sequence[int], name: str) -> tuple[int, int]:
    """Height and width, of which one number says both.

    Args:
        size: as given.
        name: what the message calls it.

    Raises:
        ValueError: there are not two, or one is below 1.

    Example:
        >>> sides(64, "image_size"), sides([32, 64], "image_size")
        ((64, 64), (32, 64))
    """
    both = (size, size) if isinstance(size, int) else tuple(size)
    if len(both) != 2:
        raise ValueError(f"{name}={both} has {len(both)} numbers; give height and width, or one number for a square")
    at_least(1, **{name.replace("_size", "") + "_height": both[0], name.replace("_size", "") + "_width": both[1]})
    return both[0], both[1]


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
        ImportError: it is not installed, or does not fit the torch that is; one sentence with the line that mends it.
    """
    try:
        with fitting():
            return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        package = module.partition(".")[0]
        library = {"PIL": "pillow"}.get(package, package)  # the name under which it is installed
        raise ImportError(f"{purpose} needs {package}, which is not installed: pip install {library}") from error
