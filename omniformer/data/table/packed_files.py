"""Many small files in one array: their bytes end to end, and where each begins."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

OFFSET = "offset"


class PackedFiles:
    """The bytes of files end to end.

    Args:
        content: of all of them.
        ends: where each begins, and behind the last where it ends.

    Shapes:
        content uint8 `[bytes]`; ends int64 `[files + 1]`.

    Example:
        >>> PackedFiles(np.array([104, 105, 33], np.uint8), np.array([0, 2, 3])).file(0)
        b'hi'
    """

    def __init__(self, content: NDArray, ends: NDArray) -> None:
        self.content, self.ends = content, ends

    def __len__(self) -> int:
        return len(self.ends) - 1

    def file(self, index: int) -> bytes:
        """The bytes of one."""
        return self.content[self.ends[index] : self.ends[index + 1]].tobytes()


def packed_files(file: Path, arrays: Mapping[str, NDArray]) -> tuple[PackedFiles | None, Mapping[str, NDArray]]:
    """The files that lie in arrays, and the arrays beside them.

    They do where whole numbers `offset` have one entry more than there are rows, and one array of bytes is as long as
    neither of these.

    Args:
        file: the arrays' own, for messages.
        arrays: by name.

    Raises:
        ValueError: `offset` does not cut the bytes into files; names file and number.
    """
    ends = arrays.get(OFFSET)
    if ends is None or ends.ndim != 1 or ends.dtype.kind not in "iu" or len(ends) < 2:
        return None, arrays
    others = {name: each for name, each in arrays.items() if name != OFFSET and each.ndim}
    lengths = {len(each) for each in others.values()}
    packed = [
        name
        for name, each in others.items()
        if each.ndim == 1 and each.dtype == np.uint8 and len(each) not in (len(ends), len(ends) - 1)
    ]
    if len(packed) != 1 or len(ends) in lengths:
        return None, arrays
    (name,), ends = packed, ends.astype(np.int64)
    if ends[0] != 0 or ends[-1] != len(others[name]):
        raise ValueError(
            f"{file}: {OFFSET!r} goes from {ends[0]} to {ends[-1]}, and {name!r} holds {len(others[name])} bytes"
        )
    if (empty := np.flatnonzero(np.diff(ends) <= 0)).size:
        raise ValueError(f"{file}: file {empty[0]} of {name!r} has no bytes; copy {file.name} again")
    return PackedFiles(others.pop(name), ends), others
