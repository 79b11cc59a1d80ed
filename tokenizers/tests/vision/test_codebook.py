import pytest
import torch
from omniformer_tokenizers import ColourTokenizer, PixelTokenizer


def picture(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_each_pixel_gets_its_nearest_colour():
    tokenizer = ColourTokenizer(n_colours=8).fit([picture(3, 20, 20)])
    image = picture(3, 5, 6, seed=1)
    tokens = tokenizer(image)
    for token, (row, column) in zip(tokens.values.tolist(), tokens.positions.long().tolist(), strict=True):
        distances = (tokenizer.colours - image[:, row, column] / 255).square().sum(1)
        assert distances[token] <= distances.min() + 1e-6


def test_fitting_finds_the_colours_that_there_are():
    colours = torch.tensor([[0, 0, 0], [255, 0, 0], [0, 200, 100], [255, 255, 255]], dtype=torch.uint8)
    image = colours[torch.arange(64) % 4].T.reshape(3, 8, 8)
    tokenizer = ColourTokenizer(n_colours=4).fit([image])
    assert torch.equal(tokenizer.decode(tokenizer(image)), image)


def test_more_colours_paint_the_image_better():
    image = picture(3, 30, 30)
    errors = []
    for n in (2, 8, 64):
        tokenizer = ColourTokenizer(n_colours=n).fit([image])
        errors.append((tokenizer.decode(tokenizer(image)).float() - image.float()).square().mean())
    assert errors[0] > errors[1] > errors[2]


def test_more_colours_than_pixels_are_legal():
    image = picture(1, 2, 2)
    tokenizer = ColourTokenizer(n_colours=16, channels=1).fit([image])
    assert torch.equal(tokenizer.decode(tokenizer(image)), image)


def test_fitting_reads_a_stream_in_bounded_memory():
    tokenizer = ColourTokenizer(n_colours=4, max_pixels=100)
    tokenizer.fit(picture(3, 16, 16, seed=i) for i in range(20))
    assert tokenizer.colours.shape == (4, 3)


def test_nothing_to_fit_is_refused():
    with pytest.raises(ValueError, match="no pixels"):
        ColourTokenizer().fit([])


def test_pixels_go_row_by_row_red_green_blue():
    image = torch.arange(12, dtype=torch.uint8).reshape(3, 2, 2)
    tokens = PixelTokenizer()(image)
    assert tokens.values.tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]
    assert tokens.positions[4].tolist() == [0, 1, 1]


def test_fewer_levels_round_to_the_nearest():
    tokenizer = PixelTokenizer(channels=1, levels=3)
    image = torch.tensor([[[0, 60, 70, 255]]], dtype=torch.uint8)
    assert tokenizer(image).values.tolist() == [0, 0, 1, 2]
    assert tokenizer.decode(tokenizer(image)).flatten().tolist() == [0, 0, 128, 255]


@pytest.mark.parametrize("levels", [1, 257])
def test_levels_beyond_a_byte_are_refused(levels):
    with pytest.raises(ValueError, match=f"levels={levels} is outside 2..256"):
        PixelTokenizer(levels=levels)


@pytest.mark.parametrize("cls", [ColourTokenizer, PixelTokenizer])
def test_images_can_be_resized_first(cls):
    tokenizer = cls(image_size=(4, 6)).fit([picture(3, 9, 9)])
    assert tokenizer(picture(3, 9, 9)).facts["size"].tolist() == [4, 6]
