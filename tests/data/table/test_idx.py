import gzip

import numpy as np
import pytest

from omniformer.data.table import Table
from omniformer.data.table.idx import read_idx
from omniformer.data.table.opening import Opener


def idx(array, kind=8):
    """The format: two zeros, the type, the number of axes, their sizes, the numbers."""
    return bytes([0, 0, kind, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


@pytest.mark.parametrize(("kind", "dtype"), [(8, "u1"), (9, "i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")])
def test_arrays_of_every_type_are_read_also_packed(tmp_path, kind, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    (tmp_path / "a.idx").write_bytes(idx(array, kind))
    (tmp_path / "a.idx.gz").write_bytes(gzip.compress(idx(array, kind)))
    for name in ("a.idx", "a.idx.gz"):
        found = read_idx(tmp_path / name)
        assert found.dtype == np.dtype(dtype).newbyteorder("=") and np.array_equal(found, array)


@pytest.mark.parametrize("packed", [False, True])
def test_pictures_and_their_classes_side_by_side_are_a_table(tmp_path, packed):
    pictures = np.arange(20 * 6, dtype=np.uint8).reshape(20, 2, 3)
    parts = {"train-images-idx3-ubyte": pictures, "train-labels-idx1-ubyte": np.arange(20, dtype=np.uint8) % 2}
    for name, array in parts.items():
        file = tmp_path / (f"{name}.gz" if packed else name)
        file.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    table = Table(
        train=" + ".join(parts),
        columns={"content": "vision", "content 2": "label"},
        splits={"val": "row >= 18"},
        ids="mine/{split}/{row}",
        data_root=str(tmp_path),
    )
    (last,) = table.split("val")[1:]
    assert last.id == "mine/val/19" and int(last.targets["label"]) == 1
    assert last.contents["vision"].tolist() == pictures[None, 19].tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not IDX: it begins with ;"),
        (b"\0\0\x08\x01", "is not IDX"),
        (b"\0\0\x07\x01\0\0\0\1\0", "is not IDX: it begins with 00000701"),
        (idx(np.zeros(4, np.uint8))[:-1], r"says \[4\] and holds 3 bytes; fetch it anew"),
    ],
)
def test_other_files_and_cut_ones_are_told(tmp_path, content, message):
    (tmp_path / "a.idx").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.idx {message}"):
        Opener(data_root=None, delimiter=None, quotes=None, names=None, config=None, download=False).rows(
            tmp_path / "a.idx"
        )
