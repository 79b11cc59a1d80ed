"""Tiles of large pictures."""

import omniformer_tokenizers as ot
import pytest
import torch


def picture(height, width):
    generator = torch.Generator().manual_seed(height)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


def test_tiles_stand_row_by_row_and_the_whole_picture_behind_them():
    image = picture(16, 24)
    tokens = ot.TileTokenizer(patch_size=4, block=2, tile=8)(image)
    blocks = ot.PatchBlockTokenizer(patch_size=4, block=2, frames=1)
    tiles = [image[:, 8 * i : 8 * i + 8, 8 * j : 8 * j + 8] for i in range(2) for j in range(3)]
    whole = ot.Resampling(filter="lanczos", size=(8, 8))(image)
    assert torch.equal(tokens.values, torch.cat([blocks(each).values for each in (*tiles, whole)]))
    assert tokens.positions[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6] and tokens.facts["tiles"].tolist() == [2, 3]


def test_a_picture_of_one_tile_stays_one_as_do_all_where_nothing_is_split():
    tokenizer = ot.TileTokenizer(patch_size=2, block=2, tile=8)
    tokens = tokenizer(picture(8, 8))
    assert tokens.facts["tiles"].tolist() == [0, 0] and tokens.positions[:, 0].unique().tolist() == [0]
    assert torch.equal(tokenizer.decode(tokens), picture(8, 8))
    one = ot.TileTokenizer(patch_size=2, block=2, tile=8, split=False)(picture(30, 17))
    assert one.facts["tiles"].tolist() == [0, 0] and len(one) == 4


def test_the_picture_of_its_tiles_comes_back():
    tokenizer, image = ot.TileTokenizer(patch_size=4, block=2, tile=8), picture(16, 24)
    assert torch.equal(tokenizer.decode(tokenizer(image)), image)


def test_many_pictures_at_once_are_each_by_itself():
    tokenizer, images = ot.TileTokenizer(patch_size=2, block=2, tile=9, longest_edge=21), [
        picture(16, 24), picture(3, 50), picture(16, 24), picture(40, 9),
    ]  # fmt: skip
    for many, one in zip(tokenizer.encode_batch(images), map(tokenizer, images), strict=True):
        assert torch.equal(many.values, one.values) and torch.equal(many.positions, one.positions)
        assert torch.equal(many.facts["tiles"], one.facts["tiles"])


def test_a_tile_without_a_block_is_refused():
    with pytest.raises(ValueError, match="tile=5 is smaller than a block of 2 x 2 patches of 3 pixels"):
        ot.TileTokenizer(patch_size=3, block=2, tile=5)
    with pytest.raises(ValueError, match="filter='box'"):
        ot.TileTokenizer(filter="box")
