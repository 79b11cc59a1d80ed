"""Named arrays out of a file of numpy's format npz, which runs no code of the file."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omniformer.data.sets.reading import check_unpacked

_DAMAGES = (
    ValueError, OSError, EOFError, TypeError, AttributeError, MemoryError, zipfile.BadZipFile, zlib.error
)  # fmt: skip


def read_arrays(file: Path, names: Sequence[str]) -> dict[str, NDArray]:
    """The arrays of these names.

    Raises:
        ValueError: the file is not npz, holds Python objects, is damaged, or lacks an array; names file and array.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(file := Path(folder) / "a.npz", y=np.arange(3))
        ...     read_arrays(file, ["y"])["y"].tolist()
        [0, 1, 2]
    """
    found: dict[str, NDArray] = {}
    name = None
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            for name in names:
                _check_size(arrays, name)
                found[name] = arrays[name]
    except KeyError as error:
        raise ValueError(f"{file} has no array {name!r}; it must hold {', '.join(names)}") from error
    except _DAMAGES as error:
        array = f" at array {name!r}" if name else ""
        raise ValueError(f"{file} cannot be read as npz{array}: {error}") from error
    return found


def array_names(file: Path) -> list[str]:
    """The names of all arrays, which are not read.

    Raises:
        ValueError: the file is not npz; names it.
    """
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return list(arrays.files)
    except _DAMAGES as error:
        raise ValueError(f"{file} cannot be read as npz: {error}") from error


def _check_size(arrays: Any, name: str) -> None:
    """Refuses an array that unfolds into much more than its place in the file lets expect."""
    member = f"{name}.npy"
    if member not in arrays.zip.namelist():
        return  # which is told by whoever asks for it
    check_unpacked([arrays.zip.getinfo(member)])
