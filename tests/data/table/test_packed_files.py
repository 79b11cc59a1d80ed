from pathlib import Path

import numpy as np
import pytest

from omniformer.data.table.packed_files import packed_files

FILES = [b"one", b"two!", b"3"]
ARRAYS = {
    "jpeg": np.frombuffer(b"".join(FILES), np.uint8),
    "offset": np.cumsum([0, *map(len, FILES)]),
    "label": np.array([2, 0, 1], np.uint8),
}


def test_bytes_end_to_end_are_files_and_the_rest_stays():
    files, rest = packed_files(Path("a.npz"), ARRAYS)
    assert [files.file(i) for i in range(len(files))] == FILES and list(rest) == ["label"]


@pytest.mark.parametrize(
    "arrays",
    [
        {"offset": np.array([0, 3, 7]), "label": np.array([1, 2, 3], np.uint8)},  # a column called so
        {"offset": np.array([0.0, 0.5]), "jpeg": np.zeros(9, np.uint8)},
        {"jpeg": np.zeros(9, np.uint8)},
    ],
)
def test_arrays_that_are_columns_stay_so(arrays):
    assert packed_files(Path("a.npz"), arrays) == (None, arrays)


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        ([0, 3, 7, 9], "'offset' goes from 0 to 9, and 'jpeg' holds 8 bytes"),
        ([1, 3, 7, 8], "'offset' goes from 1 to 8"),
        ([0, 3, 3, 8], "file 1 of 'jpeg' has no bytes; copy a.npz again"),
        ([0, 7, 3, 8], "file 1 of 'jpeg' has no bytes"),
    ],
)
def test_ends_that_cut_no_files_are_told(offset, message):
    with pytest.raises(ValueError, match=message):
        packed_files(Path("a.npz"), ARRAYS | {"offset": np.array(offset)})
