import io

import pytest
import torch
from omniformer_tokenizers import PatchTokenizer
from omniformer_tokenizers.media import MediaError
from PIL import Image
from torchvision.transforms import v2

from omniformer.data.augment import (
    Chain,
    ColorJitter,
    ImageJitter,
    RandAugment,
    RandomErasing,
    RandomFlip,
    RandomResizedCrop,
    Sometimes,
)
from omniformer.data.augment.pictures import drawing_from

IMAGE = torch.randint(0, 256, (3, 9, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
ALL = [
    ImageJitter(shift=0.1, rotate=10, scale=0.1, flip=0.5, noise=0.1),
    RandAugment(n_ops=3, magnitude=15),
    RandomResizedCrop(size=(9, 12)),
    RandomFlip(vertical=0.5),
    ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    RandomErasing(p=1, scale=(0.1, 0.5)),
]


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_jitter_of_nothing_changes_nothing():
    assert torch.equal(ImageJitter()(IMAGE, chance()), IMAGE)


@pytest.mark.parametrize("change", ALL, ids=lambda change: type(change).__name__)
@pytest.mark.parametrize("image", [IMAGE, IMAGE / 255, IMAGE[:1]], ids=["bytes", "floats", "grey"])
def test_all_randomness_comes_from_the_generator_and_nothing_given_is_changed(change, image):
    before, own = image.clone(), torch.get_rng_state()
    drawn = [change(image, chance(seed)) for seed in (1, 1, 2, 3, 4, 5)]
    assert torch.equal(drawn[0], drawn[1])
    assert any(not torch.equal(drawn[0], each) for each in drawn[2:])
    assert drawn[0].shape == image.shape and drawn[0].dtype == image.dtype
    assert torch.equal(image, before) and torch.equal(torch.get_rng_state(), own)


@pytest.mark.parametrize("change", ALL, ids=lambda change: type(change).__name__)
def test_many_pictures_of_several_sizes_equal_one_by_one(change):
    images = [IMAGE, IMAGE[:, :5], IMAGE.flip(1), IMAGE / 255, IMAGE[:, :5].flip(2), (IMAGE / 255).flip(1)]
    together = change.many(images, [chance(seed) for seed in range(6)])
    for seed, (image, found) in enumerate(zip(images, together, strict=True)):
        torch.testing.assert_close(found, change(image, chance(seed)), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (RandAugment(n_ops=3, magnitude=12), v2.RandAugment(3, 12)),
        (RandomResizedCrop(size=6, scale=(0.2, 0.9)), v2.RandomResizedCrop((6, 6), (0.2, 0.9))),
        (ColorJitter(brightness=0.3, hue=0.2), v2.ColorJitter(0.3, 0.0, 0.0, 0.2)),
        (RandomErasing(p=0.5, fill=0.2), v2.RandomErasing(0.5, value=51)),
    ],
)
def test_what_torchvision_has_is_torchvisions(ours, theirs):
    for seed in range(5):
        found = ours(IMAGE, chance(seed))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            assert torch.equal(found, theirs(IMAGE))


def test_a_generator_that_was_lent_goes_on_behind_what_was_drawn():
    mine, same = chance(), chance()
    with drawing_from(mine):
        first = torch.rand(3)
    assert torch.equal(torch.cat([first, torch.rand(3, generator=mine)]), torch.rand(6, generator=same))


def test_a_fault_in_the_middle_gives_torchs_generator_back():
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError), drawing_from(chance()):
        torch.rand(-1)
    assert torch.equal(torch.get_rng_state(), before)


def test_certain_flips_mirror():
    assert torch.equal(RandomFlip(horizontal=1)(IMAGE, chance()), IMAGE.flip(-1))
    assert torch.equal(RandomFlip(horizontal=0, vertical=1)(IMAGE, chance()), IMAGE.flip(-2))


def test_an_erased_box_has_the_brightness_asked_for_in_bytes_and_floats():
    box = RandomErasing(p=1, scale=(1, 1), ratio=(0.75, 0.75), fill=0.25)
    assert set(box(torch.zeros(3, 9, 12, dtype=torch.uint8), chance()).unique().tolist()) <= {0, 64}
    assert set(box(torch.zeros(3, 9, 12), chance()).unique().tolist()) <= {0, 0.25}


def test_a_certain_flip_mirrors_left_and_right():
    assert torch.equal(ImageJitter(flip=1)(IMAGE, chance()), IMAGE.flip(-1))


def test_a_shift_moves_a_bright_spot_by_at_most_its_share_of_the_side():
    image = torch.zeros(1, 21, 21)
    image[0, 10, 10] = 1
    rows, columns = [], []
    for seed in range(50):
        moved = ImageJitter(shift=0.2)(image, chance(seed))[0]
        weight = moved / moved.sum()
        rows.append(float((weight.sum(1) * torch.arange(21)).sum()) - 10)
        columns.append(float((weight.sum(0) * torch.arange(21)).sum()) - 10)
    assert 3 < max(map(abs, rows)) <= 4.3
    assert 3 < max(map(abs, columns)) <= 4.3


def test_a_turn_keeps_distances_whatever_the_aspect_ratio():
    image = torch.zeros(1, 41, 81)
    image[0, 20, 52] = 1
    for seed in range(20):
        turned = ImageJitter(rotate=30)(image, chance(seed))[0]
        weight = turned / turned.sum()
        row = float((weight.sum(1) * torch.arange(41)).sum()) - 20
        column = float((weight.sum(0) * torch.arange(81)).sum()) - 40
        assert (row**2 + column**2) ** 0.5 == pytest.approx(12, abs=0.3)


@pytest.mark.parametrize("change", ALL, ids=lambda change: type(change).__name__)
def test_files_are_decoded_first(change, tmp_path):
    file, content = tmp_path / "a.png", io.BytesIO()
    Image.fromarray(IMAGE.permute(1, 2, 0).numpy()).save(file)
    Image.open(file).save(content, format="png")
    for raw in (file, str(file), content.getvalue()):
        assert torch.equal(change(raw, chance()), change(IMAGE, chance()))
    with pytest.raises(MediaError, match="missing"):
        change(tmp_path / "missing.png", chance())


@pytest.mark.parametrize("channels", [1, 3])
def test_files_are_read_in_the_channels_of_the_tokenizer_behind(tmp_path, channels):
    file, tokenizer = tmp_path / "picture.png", PatchTokenizer(patch_size=2, channels=channels)
    Image.fromarray(IMAGE.permute(1, 2, 0).numpy()).save(file)
    told = RandomFlip(channels=1)
    parts = [*ALL, Chain({"a": RandomFlip(), "b": Sometimes(RandomFlip(), p=1)}), Sometimes(RandomFlip(), p=1)]
    for part in parts:
        assert part.before(tokenizer)(file, chance()).shape == (channels, 9, 12)
        assert part(file, chance()).shape == (3, 9, 12), "nothing of one run stays in the part"
        assert torch.equal(part.before(tokenizer)(IMAGE, chance()), part(IMAGE, chance()))
    assert told.before(tokenizer)(file, chance()).shape == (1, 9, 12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ImageJitter(shift=2), "shift=2 must be in 0 to 1"),
        (lambda: ImageJitter(rotate=-1), "rotate=-1 must be in 0 to 180"),
        (lambda: ImageJitter(scale=1), r"scale=1 must be in 0 to 0\.9"),
        (lambda: ImageJitter(channels=2), "channels=2 is not known"),
        (lambda: RandAugment(n_ops=0), "n_ops=0 must be at least 1"),
        (lambda: RandAugment(magnitude=31), "magnitude=31 must be in 0 to 30"),
        (lambda: RandomResizedCrop(size=0), "height=0 must be at least 1"),
        (lambda: RandomResizedCrop(size=8, scale=(0.5, 0.2)), r"scale=\[0\.5, 0\.2\]: give the least and the largest"),
        (lambda: RandomResizedCrop(size=8, scale=(0.5, 2)), "scale=2 must be in 0 to 1"),
        (lambda: RandomFlip(vertical=2), "vertical=2 must be in 0 to 1"),
        (lambda: ColorJitter(hue=0.7), r"hue=0\.7 must be in 0 to 0\.5"),
        (lambda: ColorJitter(contrast=-1), "contrast=-1 must be at least 0"),
        (lambda: RandomErasing(ratio=(0, 1)), r"ratio=\[0, 1\]: give the least and the largest"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
