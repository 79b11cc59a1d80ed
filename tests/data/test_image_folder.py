import shutil

import pytest
import torch
from omniformer_tokenizers import PatchTokenizer
from PIL import Image

from omniformer.data import ImageFolder, OmniDataModule, SampleError, Stream
from omniformer.data.augment import Chain, RandomFlip


def picture(path, colour=0, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour, colour, colour)).save(path)


@pytest.fixture
def folder(tmp_path):
    for label in ("cat", "dog"):
        for i in range(20):
            picture(tmp_path / label / f"{i}.png", colour=10 * i)
    return tmp_path


def names(source, split):
    return [raw.id for raw in source.split(split)]


def test_folders_are_classes_and_every_file_is_in_one_split(folder):
    source = ImageFolder(root=str(folder))
    assert source.labels == ("cat", "dog")
    everything = [name for split in ("train", "val", "test") for name in names(source, split)]
    assert sorted(everything) == sorted(f"{label}/{i}.png" for label in ("cat", "dog") for i in range(20))
    assert [len(names(source, split)) for split in ("train", "val", "test")] == [32, 4, 4]
    for raw in source.split("test"):
        assert source.labels[int(raw.targets["label"])] == raw.id.split("/")[0]


def test_pictures_that_are_changed_are_read_in_the_channels_of_the_tokenizer(folder):
    stream = Stream(source=ImageFolder(root=str(folder)), augment={"vision": Chain({"flip": RandomFlip()})})
    for channels in (1, 3):
        tokenizers = {"vision": PatchTokenizer(patch_size=4, channels=channels)}
        (piece,) = stream.samples("train", tokenizers, name="x", seed=0)(0, 0).pieces
        assert piece.values.shape == (4, channels * 4 * 4)


def test_a_new_file_moves_no_other_class_between_splits(folder):
    before = [n for n in names(ImageFolder(root=str(folder)), "test") if n.startswith("cat")]
    picture(folder / "dog" / "new.png")
    assert before == [n for n in names(ImageFolder(root=str(folder)), "test") if n.startswith("cat")]


def test_given_splits_are_kept_and_a_missing_one_is_empty(tmp_path):
    picture(tmp_path / "train" / "a" / "1.png")
    picture(tmp_path / "val" / "a" / "2.png")
    source = ImageFolder(root=str(tmp_path))
    assert [names(source, split) for split in ("train", "val", "test")] == [["train/a/1.png"], ["val/a/2.png"], []]


def test_relative_roots_count_from_the_data_root(folder):
    assert ImageFolder(root=folder.name, data_root=str(folder.parent)).labels == ("cat", "dog")


def test_pictures_of_any_size_are_decoded_into_one_batch(folder):
    picture(folder / "dog" / "large.png", size=(16, 24))
    module = OmniDataModule(
        streams={"x": Stream(source=ImageFolder(root=str(folder), val=0, test=0), batch_size=41)},
        tokenizers={"x": {"vision": PatchTokenizer(patch_size=8)}},
        seed=0,
    )
    batch = next(iter(module.train_dataloader()))["x"]
    assert sorted(batch.lengths.tolist()) == [1] * 40 + [6]


def test_a_damaged_file_is_named_with_the_cause(folder):
    (folder / "cat" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    stream = Stream(source=ImageFolder(root=str(folder), val=0, test=0))
    module = OmniDataModule(streams={"x": stream}, tokenizers={"x": {"vision": PatchTokenizer()}}, seed=0)
    with pytest.raises(SampleError, match=r"sample 'cat/bad.png' of x: .*bad\.png"):
        list(module.train_dataloader())


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "holds no files"),
        (["1.png"], r"1\.png lies in no class folder; expected"),
        (["cat/notes.txt"], r"holds only 1 file of another kind than \.png.*: cat/notes\.txt; expected"),
        (["train/cat/1.png", "val/dog/2.png"], r"class 'dog' of .*2\.png has no training file"),
        (["val/cat/1.png"], "has the split 'val' but no split 'train'"),
        (["train/cat/1.png", "extra/cat/1.png"], "has split folders and also 'extra'"),
    ],
)
def test_a_folder_that_is_not_understood_is_refused(tmp_path, files, message):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=message):
        ImageFolder(root=str(tmp_path)).split("train")


def test_what_is_no_picture_is_passed_over_counted_and_named_once(folder):
    for name in ("cat/Thumbs.db", "dog/notes.txt", "README.md"):
        (folder / name).touch()
    source = ImageFolder(root=str(folder))
    with pytest.warns(UserWarning, match=r"passed over 3 files .*: README\.md, cat/Thumbs\.db, dog/notes\.txt") as told:
        found = [names(source, split) for split in ("train", "val", "test")]
    assert sum(map(len, found)) == 40
    assert len(told) == 1


def test_a_class_folder_that_is_a_link_is_a_class(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    picture(elsewhere / "1.png")
    (folder / "owl").symlink_to(elsewhere)
    source = ImageFolder(root=str(folder), val=0, test=0)
    assert source.labels == ("cat", "dog", "owl")
    assert sum(name.startswith("owl/") for name in names(source, "train")) == 1
    assert len(names(source, "train")) == 41
    (folder / "cat" / "again").symlink_to(folder)  # a circle ends
    assert ImageFolder(root=str(folder)).labels == ("cat", "dog", "owl")


def test_a_split_does_not_depend_on_where_the_folder_lies(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "deep" / "photos"
    shutil.copytree(folder, other)
    for split in ("train", "val", "test"):
        assert names(ImageFolder(root=str(folder)), split) == names(ImageFolder(root=str(other)), split)


def test_a_root_is_looked_for_where_one_stands_and_then_under_the_data_root(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert ImageFolder(root=folder.name, data_root="data").labels == ("cat", "dog")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_damaged_picture_is_told_in_one_sentence_that_says_what_passes_over_it(folder, num_workers):
    (folder / "cat" / "bad.png").write_bytes(b"no picture")
    stream = Stream(source=ImageFolder(root=str(folder), val=0, test=0), num_workers=num_workers)
    module = OmniDataModule(streams={"x": stream}, tokenizers={"x": {"vision": PatchTokenizer()}}, seed=0)
    with pytest.raises(SampleError) as told:
        list(module.train_dataloader())
    assert "\n" not in str(told.value)
    assert "cat/bad.png: cannot be read" in str(told.value)
    assert str(told.value).endswith("; data.on_error=skip passes over it")


def test_hidden_files_are_passed_over(folder):
    (folder / "cat" / ".directory").touch()
    (folder / ".cache").mkdir()
    assert ImageFolder(root=str(folder)).labels == ("cat", "dog")


def test_labels_are_whole_numbers(folder):
    assert ImageFolder(root=str(folder)).split("train")[0].targets["label"].dtype == torch.int64
