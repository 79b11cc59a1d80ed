"""IDX files, the format of MNIST and of sets that were made like it: one array with its sizes in front."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omniformer.data.sets.reading import unpacked

ENDS = (".idx", *(f"-idx{n}-ubyte" for n in range(1, 5)))
_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(file: Path) -> NDArray:
    """The array of an IDX file (LeCun et al. 1998), also gzip-ed: two zeros, the type of its numbers, how many axes it
    has, the size of each, and the numbers.

    Raises:
        ValueError: it is of another format, or has more or fewer numbers than it says; names it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (file := Path(folder) / "a.idx").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
        ...     read_idx(file).tolist()
        [7, 8, 9]
    """
    try:
        content = unpacked(file)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    kind, axes = (content[2], content[3]) if len(content) > 3 and content[:2] == b"\0\0" else (0, 0)
    begin = 4 + 4 * axes
    if kind not in _TYPES or not axes or len(content) < begin:
        raise ValueError(f"{file} is not IDX: it begins with {content[:4].hex()}; fetch it anew, or rename it")
    shape, dtype = np.frombuffer(content, ">u4", axes, 4).tolist(), np.dtype(_TYPES[kind])
    if len(content) - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{file} says {shape} and holds {len(content) - begin} bytes; fetch it anew")
    return np.frombuffer(content, dtype, offset=begin).reshape(shape).astype(dtype.newbyteorder("="))
