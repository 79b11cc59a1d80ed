"""Known sets that are rows of `conf/data`: the publisher's own files give what those that are laid out here give."""

import gzip
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from omniformer_tokenizers.media import read_image
from PIL import Image

from omniformer.data.by_name import described, known

CHANCE = np.random.default_rng(0)
SPLITS = ("train", "val", "test")
ANSWERS = ["yes", "circle", "no"]
QUESTIONS = {
    "train": [
        ["what shape is it?", "circle", 0],
        ["is it red?", "yes", 1],
        ["is it blue?", "no", 1],
        ["is it blue?", "yes", 10],
        ["what is it?", "circle", 2],
    ],
    "test": [["is it green?", "no", 0]],
}


def file(pixels, kind, **options):
    Image.fromarray(pixels).save(made := io.BytesIO(), kind, **options)
    return made.getvalue()


def ids(source):
    return {name: [raw.id.partition("/")[2] for raw in source.split(name)] for name in SPLITS}


@pytest.fixture
def folders(tmp_path):
    """Two roots: of what is laid out here, and of what a publisher gives."""
    return tmp_path / "packed", tmp_path / "original"


def folder(root, name):
    (root / name).mkdir(parents=True)
    return root / name


def mnist(packed, original):
    parts = {"train": ("train", 55_002), "test": ("t10k", 4)}
    arrays = {}
    raw = folder(original, "mnist/MNIST/raw")
    for split, (stem, n) in parts.items():
        arrays[f"x_{split}"] = CHANCE.integers(256, size=(n, 28, 28), dtype=np.uint8)
        arrays[f"y_{split}"] = CHANCE.integers(10, size=n, dtype=np.uint8)
        for array, name in ((arrays[f"x_{split}"], "images-idx3"), (arrays[f"y_{split}"], "labels-idx1")):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
            (raw / f"{stem}-{name}-ubyte").write_bytes(head + array.tobytes())
    np.savez(folder(packed, "mnist") / "mnist.npz", **arrays)
    return arrays


def test_the_last_training_images_of_mnist_validate_in_either_form(folders, listed):
    arrays = mnist(*folders)
    ours, theirs = (known("mnist", data_root=str(root), max_train=30) for root in folders)
    assert [len(ours.split(name)) for name in SPLITS] == [30, 2, 4]
    assert ours.split("val")[1].id == "mnist/val/55001" and ours.facts == {"n_classes": 10}
    assert torch.equal(ours.split("val")[1].contents["vision"], torch.from_numpy(arrays["x_train"][55_001, None]))
    assert listed(ours) == listed(theirs)


def cifar10(packed, original):
    labels = {"train": [3] * 12 + [0, 9], "test": [1, 0]}
    arrays = {"classes": np.array(["airplane"])}
    members = {}
    for part, kinds in labels.items():
        pixels = np.broadcast_to(
            CHANCE.integers(256, size=(len(kinds), 1, 1, 3), dtype=np.uint8), (len(kinds), 32, 32, 3)
        )
        order = np.argsort(kinds, kind="stable")
        files = [file(np.ascontiguousarray(pixels[i]), "JPEG", quality=100, subsampling=0) for i in order]
        arrays |= {
            f"{part}_jpeg": np.frombuffer(b"".join(files), np.uint8),
            f"{part}_offset": np.cumsum([0, *map(len, files)]),
            f"{part}_label": np.array(kinds, np.uint8)[order],
        }
        records = [bytes([kind]) + pixels[i].transpose(2, 0, 1).tobytes() for i, kind in enumerate(kinds)]
        half = len(kinds) // 2
        stem = "data_batch" if part == "train" else "test_batch"
        names = (
            {f"{stem}_1.bin": records[:half], f"{stem}_2.bin": records[half:]}
            if part == "train"
            else {f"{stem}.bin": records}
        )
        members |= {f"cifar-10-batches-bin/{name}": b"".join(each) for name, each in names.items()}
    np.savez(folder(packed, "cifar10") / "cifar10_jpeg.npz", **arrays)
    with tarfile.open(folder(original, "cifar10") / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_every_tenth_image_of_a_class_of_cifar10_validates_in_either_form(folders):
    cifar10(*folders)
    options = described("cifar10")["fetch"]["cifar10/cifar-10-binary.tar.gz"].split()[0]
    ours = known("cifar10", data_root=str(folders[0]))
    theirs = known("cifar10", data_root=str(folders[1]), fetch={"cifar10/cifar-10-binary.tar.gz": options})
    assert ids(ours) == {
        "train": [*(f"train/cat-{i}" for i in range(1, 10)), "train/cat-11"],
        "val": ["val/airplane-0", "val/cat-0", "val/cat-10", "val/truck-0"],
        "test": ["test/airplane-0", "test/automobile-0"],
    }
    assert {name: {*each} for name, each in ids(theirs).items()} == {name: {*each} for name, each in ids(ours).items()}
    for name in SPLITS:
        of_theirs = {raw.id: raw for raw in theirs.split(name)}
        for raw in ours.split(name):
            other = of_theirs[raw.id]
            assert int(raw.targets["label"]) == int(other.targets["label"])
            difference = read_image(raw.contents["vision"]).int() - other.contents["vision"].int()
            assert int(difference.abs().max()) <= 3, raw.id


@pytest.fixture
def easy_vqa(folders):
    """Lays both forms of the questions out; changes may be given by file of the publisher's archive."""

    def write(changes=None):
        pixels = {
            part: CHANCE.integers(256, size=(n, 64, 64, 3), dtype=np.uint8) for part, n in (("train", 11), ("test", 2))
        }
        here = folder(folders[0], "easy_vqa")
        content = json.dumps({"answers": ANSWERS, **QUESTIONS})
        (here / "questions.json.gz").write_bytes(gzip.compress(content.encode()))
        np.savez(here / "images.npz", **{f"x_{part}": each for part, each in pixels.items()})
        (name,) = described("easy_vqa")["fetch"]
        data = f"{name.partition('/')[2].removesuffix('.zip')}/easy_vqa/data"
        files = {f"{data}/{part}/questions.json": json.dumps(QUESTIONS[part]) for part in QUESTIONS}
        for part, pictures in pixels.items():
            files |= {f"{data}/{part}/images/{i}.png": file(picture, "PNG") for i, picture in enumerate(pictures)}
        files |= {f"{data}/{inner}": each for inner, each in (changes or {}).items()}
        folder(folders[1], "easy_vqa")
        with zipfile.ZipFile(folders[1] / name, "w") as archive:
            for inner, each in files.items():
                if each is not None:
                    archive.writestr(inner, each)
        return [known("easy_vqa", data_root=str(root)) for root in folders]

    return write


def pixels_of(picture):
    return (read_image(picture) if isinstance(picture, bytes) else picture).tolist()


def decoded(source):
    """What a source gives, with pictures as pixels."""
    return {
        name: [
            (raw.id, pixels_of(raw.contents["vision"]), raw.contents["text"], raw.answer, raw.targets)
            for raw in source.split(name)
        ]
        for name in SPLITS
    }


def test_questions_about_every_tenth_picture_validate_in_either_form(easy_vqa):
    ours, theirs = easy_vqa()
    assert ids(ours) == {"train": ["train/1", "train/2", "train/4"], "val": ["val/0", "val/3"], "test": ["test/0"]}
    assert decoded(ours) == decoded(theirs) and ours.labels == theirs.labels == ("circle", "no", "yes")
    raw = ours.split("train")[1]
    assert list(raw.contents) == ["vision", "text"]
    assert (raw.contents["text"], raw.answer, int(raw.targets["label"])) == ("is it blue?", {"text": "no"}, 1)


def test_a_picture_that_is_missing_is_told_with_its_question(easy_vqa):
    _, theirs = easy_vqa({"train/images/1.png": None})
    with pytest.raises(
        ValueError, match=r"entry 2 of '.*train/questions\.json', column 'picture': 1 is no row of .*zip"
    ):
        theirs.split("train")


def test_a_text_is_split_by_place_and_compared_with_its_hash(folders):
    (folder(folders[0], "tinyshakespeare") / "input.txt.gz").write_bytes(gzip.compress(b"to be or not to be"))
    (folder(folders[1], "tinyshakespeare") / "input.txt").write_bytes(b"to be or not to be")
    ours, theirs = (known("tinyshakespeare", data_root=str(root)) for root in folders)
    assert [raw.contents["text"] for name in SPLITS for raw in ours.split(name)] == ["to be or not to ", "be"]
    assert ids(ours) == {"train": ["train"], "val": ["val"], "test": []}
    with pytest.raises(ValueError, match=r"input\.txt is not the file that was expected: sha256"):
        theirs.split("train")


@pytest.mark.parametrize("name", ["mnist", "cifar10", "easy_vqa", "tinyshakespeare"])
def test_nothing_is_fetched_unasked_and_what_is_read_is_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=rf"{name}/.* fetch it from http.* with download=true"):
        known(name, data_root=str(tmp_path)).split("train")
