"""Blocks of patches."""

import omniformer_tokenizers as ot
import pytest
import torch


def picture(height, width, channels=3):
    generator = torch.Generator().manual_seed(height)
    return torch.randint(0, 256, (channels, height, width), dtype=torch.uint8, generator=generator)


def test_a_token_holds_its_patches_row_by_row_each_in_all_its_frames():
    image, moments = picture(12, 24), {"mean": (0.1, 0.2, 0.3), "std": (0.3, 0.2, 0.1)}
    tokens = ot.PatchBlockTokenizer(patch_size=2, block=3, frames=2, **moments)(image)
    patches = ot.PatchTokenizer(patch_size=2, **moments)(image)
    assert tokens.positions.tolist() == [[0.0, row, column] for row in range(2) for column in range(4)]
    for values, (_, row, column) in zip(
        tokens.values.view(8, 9, 3, 2, 4), tokens.positions.long().tolist(), strict=True
    ):
        for i, patch in enumerate(values):
            place = (3 * row + i // 3) * 12 + 3 * column + i % 3
            for frame in range(2):
                torch.testing.assert_close(patch[:, frame].flatten(), patches.values[place], rtol=0, atol=0)


def test_the_picture_comes_back_exactly():
    tokenizer, image = ot.PatchBlockTokenizer(patch_size=4), picture(16, 8)
    assert torch.equal(tokenizer.decode(tokenizer(image)), image)


@pytest.mark.parametrize("size", [(61, 47), (200, 83), (7, 5), (24, 24), (31, 900)], ids=str)
def test_pictures_get_sides_of_whole_blocks_and_an_area_within_bounds(size):
    tokenizer = ot.PatchBlockTokenizer(patch_size=4, resize={"filter": "bicubic", "area": (256, 4096), "multiple": 8})
    tokens = tokenizer(picture(*size))
    rows, columns = (tokens.positions[:, 1:].amax(0) + 1).tolist()
    assert len(tokens) == rows * columns and 256 <= 64 * rows * columns <= 4096
    # No side is further than a block from where the aspect ratio would have it.
    ideal = (64 * rows * columns * size[0] / size[1]) ** 0.5
    assert abs(8 * rows - ideal) < 8


def test_blocks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="does not fit height=12, width=9"):
        ot.PatchBlockTokenizer(patch_size=3)(picture(12, 9))
    long = ot.PatchBlockTokenizer(patch_size=2, resize={"area": (4, 64), "multiple": 4})
    with pytest.raises(ValueError, match="201 x 1 pixels is more than 200 times longer than wide"):
        long(picture(201, 1))
