"""Named arrays out of a file of numpy's format npz, which runs no code of the file."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


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
                found[name] = arrays[name]
    except KeyError as error:
        raise ValueError(f"{file} has no array {name!r}; it must hold {', '.join(names)}") from error
    except (ValueError, OSError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        array = f" at array {name!r}" if name else ""
        raise ValueError(f"{file} cannot be read as npz{array}: {error}") from error
    return found
