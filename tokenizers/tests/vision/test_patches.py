import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from omniformer_tokenizers import ColourTokenizer, PatchTokenizer, PixelTokenizer, Resampling
from omniformer_tokenizers.vision.pixels import interpolated
from torch.nn import functional


def picture(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("stride", "height", "width"), [(None, 12, 20), (2, 12, 20), (3, 13, 22)])
def test_a_linear_layer_on_patches_equals_a_convolution(stride, height, width):
    tokenizer = PatchTokenizer(patch_size=4, stride=stride, mean=(0.0,), std=(1.0,))
    image = picture(3, height, width)
    kernel = torch.randn(5, 3, 4, 4)
    tokens = tokenizer(image)
    rows, columns = (tokens.positions.max(0).values + 1).int().tolist()
    step = stride or 4
    padded = functional.pad(
        image.float() / 255, (0, (columns - 1) * step + 4 - width, 0, (rows - 1) * step + 4 - height)
    )
    expected = functional.conv2d(padded[None], kernel, stride=step)[0].flatten(1).T
    torch.testing.assert_close(tokens.values @ kernel.flatten(1).T, expected, rtol=1e-5, atol=1e-5)


@given(
    size=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    patch=st.integers(1, 7).flatmap(lambda p: st.tuples(st.just(p), st.integers(1, p))),
    coordinates=st.sampled_from(["patches", "unit"]),
)
def test_every_size_comes_back_exactly(size, patch, coordinates):
    tokenizer = PatchTokenizer(patch_size=patch[0], stride=patch[1], coordinates=coordinates)
    image = picture(3, *size)
    decoded = tokenizer.decode(tokenizer(image))
    if image.numel():
        assert torch.equal(decoded, image)
    else:
        assert not decoded.numel()


def test_patches_go_row_by_row():
    tokens = PatchTokenizer(patch_size=2, channels=1, mean=(0.0,), std=(1 / 255,))(
        torch.arange(16, dtype=torch.uint8).reshape(4, 4)
    )
    assert tokens.values.round().tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    assert tokens.positions.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_pixels_are_scaled_by_mean_and_std_of_their_channel():
    tokenizer = PatchTokenizer(patch_size=1, mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 2.0))
    values = tokenizer(torch.full((3, 1, 1), 255, dtype=torch.uint8)).values
    torch.testing.assert_close(values, torch.tensor([[1.0, 1.0, 0.0]]))


def test_padding_is_of_the_mean_colour():
    tokens = PatchTokenizer(patch_size=4, mean=(0.2,), std=(0.3,))(picture(3, 5, 4))
    last = tokens.values[1].reshape(3, 4, 4)
    assert (last[:, 1:] == 0).all()
    assert (last[:, 0] != 0).any()


def test_cropping_leaves_incomplete_patches_out():
    tokens = PatchTokenizer(patch_size=4, remainder="crop")(picture(3, 11, 9))
    assert len(tokens) == 2 * 2
    assert len(PatchTokenizer(patch_size=4, remainder="crop")(picture(3, 3, 9))) == 0


def test_an_image_that_does_not_fit_can_be_refused():
    tokenizer = PatchTokenizer(patch_size=4, remainder="error")
    assert len(tokenizer(picture(3, 8, 4))) == 2
    with pytest.raises(ValueError, match=r"patch_size=4 .* does not fit height=9, width=4; resize .* remainder='pad'"):
        tokenizer(picture(3, 9, 4))


@pytest.mark.parametrize("shape", [(3, 200, 10), (3, 10, 200), (3, 64, 64), (3, 500, 1)])
def test_a_token_limit_scales_down_and_keeps_the_aspect_ratio(shape):
    tokenizer = PatchTokenizer(patch_size=4, max_tokens=40)
    tokens = tokenizer(picture(*shape))
    height, width = tokens.facts["size"].tolist()
    assert 0.5 * 40 <= len(tokens) <= 40 or min(height, width) <= 4
    assert len(PatchTokenizer(patch_size=4)(picture(3, 8, 8))) == len(tokenizer(picture(3, 8, 8))) == 4
    if min(height, width) > 4:
        assert height / width == pytest.approx(shape[1] / shape[2], rel=0.2)


@pytest.mark.parametrize(("resize", "size"), [("stretch", [8, 8]), ("contain", [4, 8]), ("cover", [8, 8])])
def test_resizing_follows_the_stated_policy(resize, size):
    tokens = PatchTokenizer(patch_size=4, image_size=(8, 8), resize=resize)(picture(3, 10, 20))
    assert tokens.facts["size"].tolist() == size


def test_covering_keeps_the_middle():
    image = torch.zeros(3, 8, 24)
    image[:, :, 8:16] = 1
    tokens = PatchTokenizer(patch_size=8, image_size=(8, 8), resize="cover", mean=(0.0,), std=(1.0,))(image)
    assert tokens.values.mean() == 1


def test_unit_coordinates_do_not_depend_on_resolution():
    small = PatchTokenizer(patch_size=2, coordinates="unit")(picture(3, 4, 8))
    large = PatchTokenizer(patch_size=8, coordinates="unit")(picture(3, 16, 32))
    torch.testing.assert_close(small.positions, large.positions)
    assert small.positions.max() <= 1


def test_floats_come_back_to_rounding():
    image = torch.rand(3, 9, 7)
    tokenizer = PatchTokenizer(patch_size=4)
    torch.testing.assert_close(tokenizer.decode(tokenizer(image), dtype=torch.float32), image, rtol=0, atol=1e-6)


def test_files_bytes_and_pillow_images_equal_their_pixels(tmp_path, image_bytes):
    from PIL import Image

    content = image_bytes("PNG")
    (tmp_path / "a.png").write_bytes(content)
    tokenizer = PatchTokenizer(patch_size=4)
    with Image.open(tmp_path / "a.png") as image:
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).reshape(12, 10, 3).permute(2, 0, 1)
        forms = [content, tmp_path / "a.png", str(tmp_path / "a.png"), image]
        for form in forms:
            torch.testing.assert_close(tokenizer(form).values, tokenizer(pixels).values, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch_size": 0}, "patch_size=0 is too small; give 1"),
        ({"patch_size": 4, "stride": 5}, "stride=5 exceeds patch_size=4"),
        ({"channels": 2}, "channels=2 is not known; choose 1"),
        ({"mean": (0.1, 0.2)}, "mean has 2 numbers; give 1 or one for each of 3"),
        ({"std": (0.0,)}, r"std=\(0.0,\) must be positive"),
        ({"remainder": "drop"}, "remainder='drop' is not known; choose one of 'pad'"),
        ({"max_tokens": 0}, "max_tokens=0 is too small"),
        ({"image_size": (0, 8)}, "image_height=0 is too small"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PatchTokenizer(**arguments)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(1, 4, 4), r"received shape \[1, 4, 4\]; expected \[channels=3, height, width\]"),
        (torch.zeros(4, 4), r"received shape \[4, 4\]"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "received torch.int64; expected uint8"),
        (torch.full((3, 4, 4), torch.nan), "not finite"),
    ],
)
def test_images_of_another_kind_are_refused(image, message):
    with pytest.raises(ValueError, match=message):
        PatchTokenizer()(image)


LONG = [(1, 1_000_000), (1_000_000, 1)]


@pytest.mark.parametrize("size", LONG)
@pytest.mark.parametrize(
    ("arguments", "n_tokens"),
    [
        ({"max_tokens": 64}, 64),
        ({"image_size": (224, 224), "resize": "contain"}, 14),
        ({"image_size": (224, 224), "resize": "cover"}, None),
        ({"resize": Resampling(shortest_edge=224, crop=(224, 224))}, None),
        ({"patch_size": 224}, None),
    ],
)
def test_a_picture_of_one_row_is_taken_or_refused_but_never_fills_memory(size, arguments, n_tokens):
    picture = torch.zeros(3, *size, dtype=torch.uint8)
    if n_tokens is not None:
        assert len(PatchTokenizer(**arguments)(picture)) == n_tokens
        return
    with pytest.raises(
        ValueError, match=f"{size[0]} x {size[1]} pixels to be resized or padded to .*; at most 50000000"
    ):
        PatchTokenizer(**arguments)(picture)


def test_what_lies_between_two_sizes_is_bounded_too():
    with pytest.raises(ValueError, match="1000000 x 1 pixels to be resized or padded to 224 x 224"):
        PatchTokenizer(image_size=(224, 224), resize="stretch")(torch.zeros(3, 1_000_000, 1, dtype=torch.uint8))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 17, 33), (4, 1, 5)], ids=str)
def test_a_picture_of_the_right_size_is_what_resizing_would_make_of_it(shape, monkeypatch):
    image = torch.rand(shape)
    expected = functional.interpolate(image[None], shape[1:], mode="bilinear", antialias=True)[0].clamp(0, 1)
    monkeypatch.setattr(functional, "interpolate", None)  # which costs more than cutting patches, and is not called
    assert torch.equal(interpolated(image, *shape[1:]), expected)


@pytest.mark.parametrize("size", [(0, 0), (0, 7), (7, 0)])
@pytest.mark.parametrize("arguments", [{}, {"stride": 3}, {"image_size": (8, 8)}, {"coordinates": "unit"}])
def test_an_empty_picture_comes_back_with_its_size(size, arguments):
    tokenizer = PatchTokenizer(patch_size=4, **arguments)
    picture = torch.zeros(3, *size, dtype=torch.uint8)
    assert torch.equal(tokenizer.decode(tokenizer(picture)), picture)


@pytest.mark.parametrize("kind", [PatchTokenizer, ColourTokenizer, PixelTokenizer])
def test_one_number_is_the_side_of_a_square(kind):
    assert kind(image_size=8).image_size == kind(image_size=(8, 8)).image_size == (8, 8)
    assert kind(image_size=8).config()["image_size"] == [8, 8]
    with pytest.raises(ValueError, match="has 3 numbers; give height and width, or one number for a square"):
        kind(image_size=(1, 2, 3))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"stride": 3, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)},
        {"remainder": "crop", "coordinates": "unit"},
        {"image_size": 8, "resize": "contain"},
        {"max_tokens": 4},
    ],
)
def test_many_pictures_of_several_sizes_and_types_equal_one_by_one(arguments):
    tokenizer = PatchTokenizer(patch_size=4, **arguments)
    chance = torch.Generator().manual_seed(0)
    sizes = [(9, 12), (5, 7), (9, 12), (8, 8), (0, 4), (9, 12), (3, 3)]
    images = [torch.randint(0, 256, (3, *size), generator=chance, dtype=torch.uint8) for size in sizes]
    images[2] = images[2] / 255
    for image, found in zip(images, tokenizer.encode_batch(iter(images)), strict=True):
        alone = tokenizer(image)
        assert torch.equal(found.values, alone.values) and torch.equal(found.positions, alone.positions)
        assert torch.equal(found.facts["size"], alone.facts["size"])
