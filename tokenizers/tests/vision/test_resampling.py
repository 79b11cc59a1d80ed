"""Pictures of another size, beside the library that published models were fed with."""

import omniformer_tokenizers as ot
import pytest
import torch
from omniformer_tokenizers.vision.resampling import Resampling

v2 = pytest.importorskip("torchvision.transforms.v2.functional")
SIZES = [(61, 47), (20, 83), (7, 5), (24, 24)]


def picture(height, width, channels=3):
    generator = torch.Generator().manual_seed(height)
    return torch.randint(0, 256, (channels, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("filter", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_pixels_equal_torchvision_s_to_the_last(filter, size):
    mode = v2.InterpolationMode("nearest-exact" if filter == "nearest" else filter)
    image = picture(*size)
    found = Resampling(filter=filter, size=(24, 30))(image)
    assert found.dtype == torch.uint8
    assert torch.equal(found, v2.resize(image, [24, 30], interpolation=mode))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("crop", [(24, 24), (25, 10), (9, 30)], ids=str)
def test_the_middle_is_kept_with_black_around_it_and_half_a_pixel_goes_to_the_end(crop, size):
    image = picture(*size)
    # Where a row or a column of the result lies in the picture: `//` rounds down, whichever of them is larger.
    first = [(a - b) // 2 if a >= b else -((b - a) // 2) for a, b in zip(size, crop, strict=True)]
    found = Resampling(crop=crop)(image)
    for i in range(crop[0]):
        for j in range(crop[1]):
            row, column = i + first[0], j + first[1]
            inside = 0 <= row < size[0] and 0 <= column < size[1]
            assert torch.equal(found[:, i, j], image[:, row, column] if inside else torch.zeros_like(found[:, i, j]))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_shorter_side_gets_its_length_and_the_longer_one_follows(size):
    image = picture(*size)
    assert torch.equal(Resampling(shortest_edge=13)(image), v2.resize(image, [13]))


def test_a_picture_of_floats_is_not_rounded_and_stays_in_range():
    image = torch.rand(3, 20, 20).round()
    found = Resampling(filter="bicubic", size=(33, 33))(image)
    assert found.dtype == torch.float32
    assert found.min() >= 0 and found.max() <= 1
    assert (found != found.round()).any()


def test_an_empty_picture_stays_empty():
    assert Resampling(size=(4, 4))(torch.zeros(3, 0, 7)).shape == (3, 0, 7)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"size": (24, 24)}, {"size": (10, 40)}),
        ({"size": (30, 30), "crop": (24, 24)}, {"size": (12, 50), "crop": (10, 40)}),
        ({"shortest_edge": 24, "crop": (24, 24)}, {"shortest_edge": 40, "crop": (10, 40)}),
        ({"shortest_edge": 24}, {"shortest_edge": 40, "crop": (10, 40)}),
        ({"crop": (24, 24)}, {"crop": (10, 40)}),
        ({}, {"size": (10, 40)}),
    ],
    ids=["stretched", "cut", "shorter side, cut", "shorter side", "cut alone", "nothing"],
)
def test_the_same_way_gives_pictures_of_another_size(before, after):
    changed = Resampling(filter="bicubic", **before).giving(10, 40)
    assert changed == Resampling(filter="bicubic", **after)
    assert changed(picture(50, 20)).shape == (3, 10, 40) == (3, *changed.output)


def test_whole_pixels_become_floats_before_they_are_resampled_where_nothing_is_rounded():
    image = picture(50, 37)
    found = Resampling(size=(8, 12), rounded=False)(image)
    assert torch.equal(found, Resampling(size=(8, 12))(image.float() / 255))
    assert not torch.equal(found, (found * 255).round() / 255)


def test_it_is_given_to_patches_as_itself_or_as_plain_values():
    image, way = picture(50, 37), Resampling(size=(8, 12))
    as_itself = ot.PatchTokenizer(patch_size=4, resize=way)
    as_values = ot.PatchTokenizer(patch_size=4, resize={"size": [8, 12]})
    assert torch.equal(as_itself(image).values, as_values(image).values)
    assert torch.equal(as_itself(image).values, ot.PatchTokenizer(patch_size=4)(way(image)).values)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"filter": "box"}, "filter='box'"),
        ({"size": (0, 4)}, "size_height"),
        ({"crop": (4, 0)}, "crop_width"),
        ({"shortest_edge": 0}, "shortest_edge"),
        ({"size": (4, 4), "shortest_edge": 4}, r"size=\(4, 4\) and shortest_edge=4 say two things"),
        ({"size": (4, 4), "area": (4, 8)}, r"size=\(4, 4\) and area=\(4, 8\) say two things"),
        ({"area": (0, 8)}, "area_least"),
        ({"area": (9, 8)}, r"area=\(9, 8\): the least is more than the most"),
        ({"multiple": 4}, "multiple=4 belongs to area= or squares="),
        ({"squares": 0}, "squares"),
        ({"squares": 4, "area": (4, 8)}, r"area=\(4, 8\) and squares=4 say two things"),
    ],
)
def test_impossible_sizes_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Resampling(**wrong)


@pytest.mark.parametrize("size", [(480, 640), (100, 900), (16, 16), (5, 3), (2000, 1999)], ids=str)
@pytest.mark.parametrize("most", [64, 256])
def test_as_many_squares_as_the_aspect_ratio_allows_and_no_more(size, most):
    made = Resampling(squares=most, multiple=16)(picture(*size)).shape[1:]
    rows, columns = (side // 16 for side in made)
    assert made == (16 * rows, 16 * columns) and rows * columns <= most
    # One row and column more, as of a slightly larger picture of this shape, would be too many.
    assert (rows + 1) * (columns + 1) > most
    wanted = size[0] / size[1]
    assert (rows - 1) / columns <= wanted <= rows / max(columns - 1, 1e-9)


def test_of_squares_pictures_of_a_size_can_be_made():
    assert Resampling(squares=9, multiple=4).giving(10, 40) == Resampling(size=(10, 40))


def test_two_sizes_are_refused():
    with pytest.raises(ValueError, match="a Resampling, which has its own size; leave one out"):
        ot.PatchTokenizer(image_size=(8, 8), resize=Resampling(size=(8, 8)))
