import io
import pickle

import numpy as np
import pytest
import torch
from omniformer_tokenizers.media import read_image

from omniformer.data.sets.cifar10 import CIFAR10, CLASSES

LABELS = {"train": [3, 0, 3, 9, *[3] * 10], "test": [1, 0]}


@pytest.fixture
def pixels():
    """Pictures of one colour each, which JPEG keeps to a step or two."""
    chance = np.random.default_rng(0)
    return {
        part: np.broadcast_to(
            chance.integers(256, size=(len(labels), 1, 1, 3), dtype=np.uint8), (len(labels), 32, 32, 3)
        )
        for part, labels in LABELS.items()
    }


def jpeg(pixels):
    from PIL import Image

    Image.fromarray(pixels).save(file := io.BytesIO(), "JPEG", quality=100, subsampling=0)
    return file.getvalue()


@pytest.fixture
def arrays(pixels):
    """The copy as it is laid out here: sorted by class, JPEG files end to end."""
    found = {"classes": np.array(CLASSES)}
    for part, labels in LABELS.items():
        order = np.argsort(labels, kind="stable")
        files = [jpeg(pixels[part][i]) for i in order]
        found[f"{part}_jpeg"] = np.frombuffer(b"".join(files), dtype=np.uint8)
        found[f"{part}_offset"] = np.cumsum([0, *map(len, files)])
        found[f"{part}_label"] = np.array(labels, dtype=np.uint8)[order]
    return found


@pytest.fixture
def packed(tmp_path, arrays):
    """Writes the copy with changes by array; returns its root."""

    def write(changes=None):
        (tmp_path / "packed/cifar10").mkdir(parents=True)
        np.savez(tmp_path / "packed/cifar10/cifar10_jpeg.npz", **arrays | (changes or {}))
        return str(tmp_path / "packed")

    return write


@pytest.fixture
def original(tmp_path, pixels, monkeypatch):
    """Writes the original as torchvision keeps it; returns its root."""
    from torchvision.datasets import CIFAR10 as Theirs  # noqa: N811

    monkeypatch.setattr(Theirs, "train_list", [["data_batch_1", None]])
    monkeypatch.setattr(Theirs, "test_list", [["test_batch", None]])
    monkeypatch.setattr(Theirs, "meta", Theirs.meta | {"md5": None})
    folder = tmp_path / "original/cifar10/cifar-10-batches-py"
    folder.mkdir(parents=True)
    for part, name in (("train", "data_batch_1"), ("test", "test_batch")):
        data = pixels[part].transpose(0, 3, 1, 2).reshape(len(LABELS[part]), -1)
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": LABELS[part]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CLASSES)}))
    return str(tmp_path / "original")


def ids(source):
    return {name: [raw.id.removeprefix("cifar10/") for raw in source.split(name)] for name in ("train", "val", "test")}


def test_every_tenth_image_of_a_class_validates(packed):
    found = ids(CIFAR10(data_root=packed()))
    assert found == {
        "train": [*(f"train/cat-{i}" for i in range(1, 10)), "train/cat-11"],
        "val": ["val/airplane-0", "val/cat-0", "val/cat-10", "val/truck-0"],
        "test": ["test/airplane-0", "test/automobile-0"],
    }


def test_contents_are_the_bytes_of_the_files_and_labels_those_of_the_classes(packed, pixels):
    source = CIFAR10(data_root=packed())
    raw = source.split("val")[3]
    assert raw.contents["vision"] == jpeg(pixels["train"][3])
    assert (raw.targets["label"].dtype, int(raw.targets["label"])) == (torch.int64, 9)


def test_the_original_gives_the_same_samples_up_to_what_jpeg_loses(packed, original):
    ours, theirs = CIFAR10(data_root=packed()), CIFAR10(data_root=original)
    assert ids(ours) == ids(theirs)
    for name in ("train", "val", "test"):
        for a, b in zip(ours.split(name), theirs.split(name), strict=True):
            assert int(a.targets["label"]) == int(b.targets["label"])
            assert b.contents["vision"].dtype == torch.uint8
            difference = read_image(a.contents["vision"]).int() - b.contents["vision"].int()
            assert int(difference.abs().max()) <= 3, a.id


def test_the_original_is_fetched_only_when_asked(tmp_path, original, served, monkeypatch):
    import tarfile

    from torchvision.datasets import CIFAR10 as Theirs  # noqa: N811

    folder, url = served
    with tarfile.open(folder / Theirs.filename, "w:gz") as archive:
        archive.add(f"{original}/cifar10/{Theirs.base_folder}", Theirs.base_folder)
    monkeypatch.setattr(Theirs, "url", f"{url}{Theirs.filename}")
    monkeypatch.setattr(Theirs, "tgz_md5", None)
    with pytest.raises(FileNotFoundError, match=r"cifar10_jpeg\.npz.*cifar-10-batches-py.*download=true"):
        CIFAR10(data_root=str(tmp_path / "empty")).split("train")
    fetched = CIFAR10(data_root=str(tmp_path / "empty"), download=True)
    assert ids(fetched) == ids(CIFAR10(data_root=original))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("classes", lambda a: a[::-1], "the classes are truck, ship"),
        ("train_label", lambda a: a + 1, "'train_label': sample 13 has label 10; accepted are 0 to 9"),
        ("test_label", lambda a: a[1:], "'test_label' is uint8 .1. for 2 samples"),
        ("test_jpeg", lambda a: a[:-1], r"'test_offset' ends at \d+, 'test_jpeg' at \d+ bytes"),
        ("test_offset", lambda a: a[[0, 0, 2]], "test image 0 has no bytes"),
        ("test_offset", lambda a: a.astype(float), "'test_offset' is float64 .3.; need integers"),
    ],
)
def test_wrong_arrays_are_told_by_name(packed, arrays, name, change, message):
    with pytest.raises(ValueError, match=rf"cifar10_jpeg\.npz.*{message}"):
        CIFAR10(data_root=packed({name: change(arrays[name])})).split("train")


def test_a_damaged_original_is_told(original, monkeypatch):
    from torchvision.datasets import CIFAR10 as Theirs  # noqa: N811

    monkeypatch.setattr(Theirs, "test_list", [["test_batch", "0" * 32]])
    with pytest.raises(ValueError, match=r"cifar10 cannot be read from .*cifar-10-batches-py: .*corrupted"):
        CIFAR10(data_root=original).split("train")


def test_a_split_pickles_for_data_workers(packed):
    split = CIFAR10(data_root=packed()).split("test")
    again = pickle.loads(pickle.dumps(split))
    assert [raw.contents for raw in again] == [raw.contents for raw in split]


def test_the_real_set_has_equally_many_images_of_each_class(shared_data):
    source = CIFAR10(data_root=str(shared_data))
    for name, each in (("train", 4_500), ("val", 500), ("test", 1_000)):
        split = source.split(name)
        assert len(split) == 10 * each
        assert [int(split[i].targets["label"]) for i in range(0, len(split), each)] == list(range(10))
    images = [read_image(split[i].contents["vision"]) for split in (source.split("val"),) for i in range(0, 5_000, 25)]
    assert {tuple(image.shape) for image in images} == {(3, 32, 32)}
    # The channel means of the training set, as published.
    means = torch.stack(images).float().mean(dim=(0, 2, 3)) / 255
    assert torch.allclose(means, torch.tensor([0.491, 0.482, 0.447]), atol=0.03)
