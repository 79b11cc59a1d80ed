import gzip
import pickle

import numpy as np
import pytest
import torch

from omniformer.data.sets.mnist import MNIST

N_TRAIN, N_TEST = 5_003, 4
PARTS = {"x_train": "train-images-idx3", "y_train": "train-labels-idx1"} | {
    "x_test": "t10k-images-idx3",
    "y_test": "t10k-labels-idx1",
}


@pytest.fixture(scope="module")
def arrays():
    chance = np.random.default_rng(0)
    return {
        "x_train": chance.integers(256, size=(N_TRAIN, 28, 28), dtype=np.uint8),
        "y_train": chance.integers(10, size=N_TRAIN, dtype=np.uint8),
        "x_test": chance.integers(256, size=(N_TEST, 28, 28), dtype=np.uint8),
        "y_test": chance.integers(10, size=N_TEST, dtype=np.uint8),
    }


def idx(array):
    """The format of the original files: two zeros, the type, the number of axes, their lengths, the bytes."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


@pytest.fixture
def packed(tmp_path, arrays):
    (tmp_path / "mnist").mkdir()
    np.savez(tmp_path / "mnist/mnist.npz", **arrays)
    return tmp_path


@pytest.fixture
def original(tmp_path, arrays):
    raw = tmp_path / "original/mnist/MNIST/raw"
    raw.mkdir(parents=True)
    for name, part in PARTS.items():
        (raw / f"{part}-ubyte").write_bytes(idx(arrays[name]))
    return tmp_path / "original"


def test_the_last_5000_training_images_validate(packed, arrays):
    source = MNIST(data_root=str(packed))
    assert [len(source.split(name)) for name in ("train", "val", "test")] == [3, 5_000, N_TEST]
    assert [raw.id for raw in source.split("train")] == ["mnist/train/0", "mnist/train/1", "mnist/train/2"]
    for name, number, row in (("train", 2, 2), ("val", 0, 3), ("val", 4_999, 5_002)):
        raw = source.split(name)[number]
        assert raw.id == f"mnist/{name}/{row}"
        assert torch.equal(raw.contents["vision"], torch.from_numpy(arrays["x_train"][row, None]))
        assert int(raw.targets["label"]) == arrays["y_train"][row]
    assert torch.equal(source.split("test")[1].contents["vision"][0], torch.from_numpy(arrays["x_test"][1]))


def test_the_original_files_give_the_same_samples(packed, original):
    ours, theirs = MNIST(data_root=str(packed)), MNIST(data_root=str(original))
    for name in ("train", "val", "test"):
        assert [raw.id for raw in ours.split(name)] == [raw.id for raw in theirs.split(name)]
        for a, b in zip(ours.split(name), theirs.split(name), strict=True):
            assert torch.equal(a.contents["vision"], b.contents["vision"])
            assert (a.targets["label"].dtype, int(a.targets["label"])) == (torch.int64, int(b.targets["label"]))
        assert ours.digits(name) == [int(raw.targets["label"]) for raw in ours.split(name)]


def test_missing_files_are_fetched_only_when_asked(tmp_path, original, packed, served, monkeypatch):
    from torchvision import datasets

    folder, url = served
    for part in PARTS.values():
        file = original / f"mnist/MNIST/raw/{part}-ubyte"
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), 0))
    monkeypatch.setattr(datasets.MNIST, "mirrors", [url])
    monkeypatch.setattr(datasets.MNIST, "resources", [(f"{part}-ubyte.gz", None) for part in PARTS.values()])
    with pytest.raises(FileNotFoundError, match=r"mnist\.npz.*MNIST.*download=true"):
        MNIST(data_root=str(tmp_path / "empty")).split("train")
    fetched = MNIST(data_root=str(tmp_path / "empty"), download=True).split("test")
    ours = MNIST(data_root=str(packed)).split("test")
    assert all(torch.equal(a.contents["vision"], b.contents["vision"]) for a, b in zip(fetched, ours, strict=True))
    folder.rename(tmp_path / "gone")
    assert len(MNIST(data_root=str(tmp_path / "empty"), download=True).split("test")) == N_TEST


def test_a_failed_download_is_told(tmp_path, monkeypatch):
    from torchvision import datasets

    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"{tmp_path.as_uri()}/nowhere/"])
    with pytest.raises(ValueError, match="mnist cannot be fetched into"):
        MNIST(data_root=str(tmp_path), download=True).split("train")


def test_max_train_takes_the_first_images_and_leaves_the_other_splits(packed):
    source = MNIST(data_root=str(packed), max_train=2)
    assert [raw.id for raw in source.split("train")] == ["mnist/train/0", "mnist/train/1"]
    assert source.split("val")[0].id == "mnist/val/3"
    with pytest.raises(ValueError, match="5003 training images, the last 5000 validate, max_train=4"):
        MNIST(data_root=str(packed), max_train=4).split("train")
    with pytest.raises(ValueError, match="max_train=0 must be at least 1"):
        MNIST(max_train=0)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("y_test", np.array([0, 10, 0, 0], dtype=np.uint8), "'y_test': sample 1 has label 10; accepted are 0 to 9"),
        ("y_test", np.zeros(3, dtype=np.uint8), "'y_test' is uint8 .3. for 4 samples"),
        ("x_test", np.zeros((4, 28, 27), dtype=np.uint8), r"'x_test' is uint8 .4, 28, 27.; expected uint8"),
        ("x_train", np.zeros((5_000, 28, 28), dtype=np.uint8), "'y_train' is uint8 .5003. for 5000 samples"),
        ("x_train", None, "'x_train'"),
    ],
)
def test_wrong_arrays_are_told_by_name(packed, arrays, name, wrong, message):
    changed = arrays | {name: wrong}
    np.savez(packed / "mnist/mnist.npz", **{key: value for key, value in changed.items() if value is not None})
    with pytest.raises(ValueError, match=rf"mnist\.npz.*{message}"):
        MNIST(data_root=str(packed)).split("train")


def test_a_damaged_original_is_told(original):
    file = original / "mnist/MNIST/raw/t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="mnist cannot be read from"):
        MNIST(data_root=str(original)).split("test")


def test_a_split_pickles_for_data_workers(packed):
    split = pickle.loads(pickle.dumps(MNIST(data_root=str(packed)).split("test")))
    assert [raw.id for raw in split] == [f"mnist/test/{i}" for i in range(N_TEST)]


def test_the_real_set_has_70000_images_of_all_digits(shared_data):
    source = MNIST(data_root=str(shared_data))
    assert [len(source.split(name)) for name in ("train", "val", "test")] == [55_000, 5_000, 10_000]
    assert source.facts == {"n_classes": 10}
    # Counts of the test labels and the first training labels, as published.
    labels = torch.stack([raw.targets["label"] for raw in source.split("test")])
    assert labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert [int(raw.targets["label"]) for raw in source.split("train")[:10]] == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert source.split("val")[0].id == "mnist/val/55000"
