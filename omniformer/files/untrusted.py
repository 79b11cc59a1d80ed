"""What a folder from somewhere else may not do to whoever reads it: lead out of itself, unpack into memory, or compute
in a spreadsheet.
"""

import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def plain_name(name: object, source: str | Path) -> str:
    """A name of a file or folder that a file gave, where it is one: no path, so that it stays beside that file.

    Args:
        name: as read.
        source: names the file in messages.

    Raises:
        ValueError: it is no text, or leads elsewhere.

    Example:
        >>> plain_name("text", "config.json")
        'text'
        >>> plain_name("../text", "config.json")
        Traceback (most recent call last):
        ValueError: config.json names '../text'; accepted: a plain name, without folders
    """
    if not isinstance(name, str) or name in ("", ".", "..") or any(sign in name for sign in ("/", "\\", "\0", ":")):
        raise ValueError(f"{source} names {name!r}; accepted: a plain name, without folders")
    return name


def refuse_link_out(path: Path, folder: Path) -> None:
    """Refuses a file or folder that a link leads to, or leads through, from inside a folder to a place outside.

    The folder itself may be reached through links; in a cache of the hub, links to stored files of the same model stay.

    Args:
        path: in the folder.
        folder: what was given.

    Raises:
        ValueError: names the path.
    """
    root = folder.resolve()
    home = root.parents[1] if root.parent.name == "snapshots" and root.parents[1].name.startswith("models--") else root
    if not path.resolve().is_relative_to(home):
        raise ValueError(f"{path} is a link that leads out of {folder}; put the file itself there")


def refuse_links_out(folder: Path, *, of: Path | None = None, deep: bool = True) -> None:
    """Refuses a folder with any such link in it, or with what is neither a file nor a folder: of a pipe, or a device,
    reading never ends.

    Args:
        folder: to be read or written.
        of: the folder around it that was given; itself by default.
        deep: whether folders in it are searched as well.

    Raises:
        ValueError: names the link, or the pipe.
    """
    around = folder if of is None else of
    refuse_link_out(folder, around)
    for place, folders, files in os.walk(folder):
        for path in (Path(place) / name for name in (*folders, *files)):
            if path.is_symlink():
                refuse_link_out(path, around)
            if path.exists() and not (path.is_file() or path.is_dir()):
                raise ValueError(f"{path} is neither a file nor a folder; put the file itself there")
        if not deep:
            break


def refuse_compressed(path: Path) -> None:
    """Refuses an archive of tensors that unpacks to more than it is: torch stores them as they are.

    A file that is no archive passes.

    Raises:
        ValueError: names the file, its size, and what it would unpack to.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{path} is damaged or cut off: {error}") from error
    if unpacked > (size := path.stat().st_size):
        raise ValueError(
            f"{path} has {size:,} bytes and would unpack to {unpacked:,}; checkpoints are not compressed, so this one "
            "was not written by torch"
        )


@contextmanager
def told_of(source: str | Path) -> Iterator[None]:
    """While the context lasts, what goes wrong with the values of a description is a fault of that description, and
    told in one sentence: a list where a number should be, a division by its zero, a size that no memory has.

    Args:
        source: the file.

    Raises:
        ValueError: names the file.

    Example:
        >>> with told_of("config.json"):
        ...     64 // {"n_head": 0}["n_head"]
        Traceback (most recent call last):
        ValueError: config.json describes what cannot be built: ZeroDivisionError: integer division or modulo by zero
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError) as error:
        said = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        raise ValueError(f"{source} describes what cannot be built: {said}") from error


def refuse_layers_without_weights(recipe: Any, n_tensors: int, source: str | Path) -> None:
    """Refuses a description of so many layers that the weights beside it cannot be theirs: to build them takes minutes
    and gigabytes. Layers that share weights are no reason for more than a thousand.

    Args:
        recipe: the description of a model.
        n_tensors: how many tensors its weights are.
        source: names the file in messages.

    Raises:
        ValueError: says both numbers.

    Example:
        >>> refuse_layers_without_weights({"core": {"n_layers": 12}}, 150, "config.json")
    """
    inner = recipe.values() if isinstance(recipe, Mapping) else recipe if isinstance(recipe, list | tuple) else ()
    for each in inner:
        refuse_layers_without_weights(each, n_tensors, source)
    n = recipe.get("n_layers") if isinstance(recipe, Mapping) else None
    if isinstance(n, int) and n > max(1000, n_tensors):
        raise ValueError(f"{source} describes {n:,} layers, and its weights are {n_tensors:,} tensors")


def no_formula(cell: Any) -> Any:
    """A cell of a table that no spreadsheet computes: names of classes, inputs and settings come from data and folders.

    A text that begins like a formula gets an apostrophe before it, as spreadsheets write texts; numbers stay.

    Example:
        >>> no_formula("=1+1"), no_formula("-1"), no_formula(-1)
        ("'=1+1", '-1', -1)
    """
    if not isinstance(cell, str) or not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
