"""Pictures are read once, and changed in every epoch at the size in which they are read."""

import pytest
import torch
from omniformer_tokenizers import PatchTokenizer
from PIL import Image

from omniformer.data import ImageFolder, ImageJitter, Stream
from omniformer.data.read_once import ReadOnce
from omniformer.data.samples import SampleError
from omniformer.data.source import Raw, Split

TOKENIZER = PatchTokenizer(patch_size=4, image_size=(8, 8), channels=1)


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "val"):
        for name, image in (("falling", Image.linear_gradient("L")), ("round", Image.radial_gradient("L"))):
            (tmp_path / split / name).mkdir(parents=True)
            image.save(tmp_path / split / name / "a.png")
    return tmp_path


def samples(folder, split: Split = "train", tokenizer=TOKENIZER, **options):
    stream = Stream(source=ImageFolder(root=str(folder)), **options)
    return stream.samples(split, {"vision": tokenizer}, name="x", seed=0)


def test_a_file_is_opened_once_and_its_picture_changed_in_every_epoch(folder, monkeypatch):
    made = samples(folder, augment=ImageJitter(shift=0.3), cache=True)
    first = [made(epoch, 0).pieces[0].values for epoch in range(3)]
    for file in folder.rglob("*.png"):
        file.unlink()
    again = [made(epoch, 0).pieces[0].values for epoch in range(3)]
    torch.testing.assert_close(again, first, rtol=0, atol=0)
    assert not torch.equal(first[0], first[1])


def test_changes_are_those_of_the_small_picture_in_whole_numbers(folder):
    made, jitter = samples(folder, augment=ImageJitter(flip=1.0), cache=True), ImageJitter(flip=1.0)
    small = (TOKENIZER.stackable(str(folder / "train" / "falling" / "a.png")) * 255).round().to(torch.uint8)
    expected = TOKENIZER(jitter(small, torch.Generator()))
    torch.testing.assert_close(made(0, 0).pieces[0].values, expected.values, rtol=0, atol=0)


def test_what_is_measured_is_not_rounded_nor_changed(folder):
    measured = samples(folder, "val", augment=ImageJitter(shift=0.3), cache=True)(0, 0).pieces[0].values
    plain = samples(folder, "val")(0, 0).pieces[0].values
    torch.testing.assert_close(measured, plain, rtol=0, atol=0)


def test_a_picture_that_cannot_be_read_is_named(folder):
    (folder / "train" / "falling" / "a.png").write_bytes(b"no picture")
    made = samples(folder, augment=ImageJitter(), cache=True)
    with pytest.raises(SampleError, match=r"sample '.*falling.*' of x: .*cannot be read as an image"):
        made(0, 0)
    assert len(made(0, 1).pieces[0]) == 4


def test_pictures_to_be_written_are_kept_too_and_other_contents_stay():
    image = torch.full((1, 16, 16), 255, dtype=torch.uint8)
    raw = Raw(id="a", contents={"text": "white"}, answer={"vision": image})
    (kept,) = ReadOnce([raw], {"vision": TOKENIZER}, ["vision"])[:]
    assert kept.contents == {"text": "white"} and torch.equal(kept.answer["vision"], image[:, :8, :8])


def test_pictures_of_differing_sizes_cannot_be_kept(folder):
    with pytest.raises(ValueError, match=r"cache=True with augment keeps pictures of one size.*set its image_size"):
        samples(folder, tokenizer=PatchTokenizer(patch_size=4), augment=ImageJitter(), cache=True)
