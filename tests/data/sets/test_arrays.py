import numpy as np
import pytest

from omniformer.data.sets.arrays import read_arrays


def test_arrays_come_by_name(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(3), y=np.eye(2), z=np.zeros(1))
    arrays = read_arrays(tmp_path / "a.npz", ("y", "x"))
    assert list(arrays) == ["y", "x"]
    assert arrays["x"].tolist() == [0, 1, 2]


def test_a_missing_array_is_told_by_name(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    with pytest.raises(ValueError, match=r"a\.npz has no array 'y'; it must hold x, y"):
        read_arrays(tmp_path / "a.npz", ("x", "y"))


def test_python_objects_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{"any": "code"}], dtype=object))
    with pytest.raises(ValueError, match=r"a\.npz cannot be read as npz at array 'x'.*allow_pickle"):
        read_arrays(tmp_path / "a.npz", ("x",))


@pytest.mark.parametrize("keep", [0, 40, 150])
def test_a_file_that_was_cut_off_is_told(tmp_path, keep):
    np.savez(tmp_path / "a.npz", x=np.arange(30))
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"a\.npz cannot be read as npz"):
        read_arrays(tmp_path / "a.npz", ("x",))


def test_a_single_array_is_no_npz(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(ValueError, match=r"a\.npy cannot be read as npz"):
        read_arrays(tmp_path / "a.npy", ("x",))
