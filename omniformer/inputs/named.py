"""What people hand to a trained model, as single inputs with names: folders, patterns and arrays taken apart."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from omniformer_tokenizers.files import files_below
from torch import Tensor

from omniformer.inputs.looks import ARRAYS, SUFFIXES, modality_of

log = logging.getLogger(__name__)
Named = Sequence[tuple[str, Any]]
Refused = Callable[[Exception], None]
Result = TypeVar("Result")


def named_inputs(inputs: Any, refused: Refused | None = None, suffixes: Sequence[str] = ()) -> list[tuple[str, Any]]:
    """Inputs with their names, folders as the files in them.

    Args:
        inputs: as for `listed`.
        refused: called with the error of what is not there; None raises it.
        suffixes: as for `expand`.
    """
    named: list[tuple[str, Any]] = []
    for i, given in enumerate(listed(inputs)):
        try:
            named += expand(given, i, suffixes)
        except (ValueError, OSError) as error:
            if refused is None:
                raise
            refused(error)
    return named


def expand(given: Any, i: int, suffixes: Sequence[str] = ()) -> Iterator[tuple[str, Any]]:
    """An input with its name; the path of a folder is the files in it that have a known suffix, that of a pattern
    (`scans/*.png`) the files that it matches, and that of a file of numpy, `.npy`, what the array holds.

    Args:
        given: one of the inputs.
        i: its number among them.
        suffixes: of files that the model reads beside those that everybody knows, such as `.acc`.
    """
    if not isinstance(given, Path):
        yield f"input {i}", given
    elif given.is_dir():
        yield from _below(given, suffixes)
    elif given.suffix.lower() == ARRAYS:
        rows = listed(_array(found(given)))
        yield from ((str(given) if len(rows) == 1 else f"{given}[{row}]", each) for row, each in enumerate(rows))
    elif has_magic(str(given)) and not given.is_file():
        files = sorted(path for path in map(Path, glob(str(given), recursive=True)) if path.is_file())
        if not files:
            raise FileNotFoundError(f"no file matches {str(given)!r}")
        yield from ((str(path), path) for path in files)
    else:
        yield str(given), found(given)


def listed(inputs: Any) -> list[Any]:
    """Inputs as a list: one string, path, picture, sound or graph by itself is a list of one.

    Of a tensor or an array with four axes or more, the first one counts the inputs.

    Example:
        >>> import torch
        >>> listed("a fine film"), listed(["a", "b"]), len(listed(torch.zeros(3, 8, 8)))
        (['a fine film'], ['a', 'b'], 1)
    """
    if isinstance(inputs, Tensor | np.ndarray):
        return list(inputs) if inputs.ndim > 3 else [inputs]
    if isinstance(inputs, str | Path | bytes):
        return [inputs]
    pair = isinstance(inputs, tuple) and bool(inputs) and isinstance(inputs[0], str)
    return [inputs] if modality_of(inputs) is not None and not pair else list(inputs)


def of_each(use: Callable[[Named], list[Result]], named: Named) -> list[Result | Exception]:
    """What is made of each input, or why it cannot be read: where one of them cannot, each half is tried by itself.

    Args:
        use: from inputs to what is made of each of them; raises for one that cannot be read.
        named: inputs with their names.

    Example:
        >>> of_each(lambda named: [len(raw) for _, raw in named], [("a", "abc"), ("b", "de")])
        [3, 2]
    """
    try:
        return list(use(named))
    except (ValueError, OSError) as error:
        if len(named) == 1:
            return [error.with_traceback(None)]  # which would keep all that was read in memory
        half = len(named) // 2
        return [each for part in (named[:half], named[half:]) for each in of_each(use, part)]


def found(path: Path) -> Path:
    """A path that leads to a file.

    Raises:
        FileNotFoundError: it leads to none.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}")
    return path


def _below(folder: Path, suffixes: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """The files of a folder that have a known suffix; of what kinds others are, and how many, is said."""
    paths = [folder / name for name in files_below(folder)]
    known = {path: modality_of(path) is not None or path.suffix.lower() in suffixes for path in paths}
    files = [path for path in paths if known[path]]
    if not files:
        shown = ", ".join([*(each for every in SUFFIXES.values() for each in every), *suffixes])
        raise ValueError(f"{folder} holds no file that a model could read; known suffixes: {shown}")
    if others := Counter(path.suffix.lower() or path.name for path in paths if not known[path]):
        kinds = ", ".join(f"{n} {kind}" for kind, n in others.most_common(8))
        log.warning("%s: %s files of other kinds are passed over: %s", folder, sum(others.values()), kinds)
    yield from ((str(path), path) for path in files)


def _array(path: Path) -> np.ndarray:
    """The array of a file, of which only what is used comes into memory.

    Raises:
        ValueError: it is none, or one of Python objects, which could run code; names the file.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read as an array of numbers: {error}") from error
