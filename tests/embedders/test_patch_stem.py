"""Convolutions within patches."""

import pytest
import torch
from omniformer_tokenizers import PatchTokenizer, pack
from torch.nn import functional as F

from omniformer.embedders import PatchStem

TOKENIZER = PatchTokenizer(patch_size=8, stride=4, channels=3)


def picture(height, width, seed=0):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def stem(**options):
    torch.manual_seed(0)
    return PatchStem(d_model=5, **TOKENIZER.facts, width=4, **options)


def test_every_patch_is_convolved_as_a_picture_by_itself():
    made, image = stem(), picture(12, 16)
    for conv in made.convs:
        torch.nn.init.normal_(conv.bias)
    rows = []
    for top in (0, 4):
        for left in (0, 4, 8):
            x = (image[None, :, top : top + 8, left : left + 8] - 0.5) / 0.5
            for conv in made.convs:
                x = F.conv2d(x, conv.weight, conv.bias, padding=1)
                x = F.gelu((x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt())
                x = x.unfold(2, 2, 2).unfold(3, 2, 2).amax((-2, -1))
            rows.append(made.map(x.flatten()))
    torch.testing.assert_close(made(pack([TOKENIZER(image)])), torch.stack(rows), rtol=1e-4, atol=1e-5)


def test_pictures_of_several_sizes_and_none_do_not_see_each_other():
    made = stem()
    tokens = [TOKENIZER(picture(8, 8)), TOKENIZER(picture(13, 21, 1)), TOKENIZER(torch.zeros(3, 0, 0))]
    alone = torch.cat([made(pack([each])) for each in tokens])
    torch.testing.assert_close(made(pack(tokens)), alone)


def test_positions_are_added_behind_the_convolutions():
    class Places(torch.nn.Linear):
        def __init__(self, *, d_model, n_axes):
            super().__init__(n_axes, d_model)

    made, plain, packed = stem(position=Places), stem(), pack([TOKENIZER(picture(12, 12))])
    plain.load_state_dict(made.state_dict(), strict=False)
    torch.testing.assert_close(made(packed), plain(packed) + made.position(packed.positions))


def test_no_patch_gives_zero_gradients_not_missing_ones():
    made = stem()
    made(pack([TOKENIZER(torch.zeros(3, 0, 0))])).sum().backward()
    assert all(each.grad is not None and not each.grad.any() for each in made.parameters())


@pytest.mark.parametrize("sizes", [{"features": 49, "channels": 3}, {"features": 27, "channels": 3}])
def test_what_is_no_square_patch_or_too_small_a_one_is_refused(sizes):
    with pytest.raises(ValueError, match="are no square patch of at least 4 x 4 pixels; use tokenizer.patch_size=8"):
        PatchStem(d_model=5, **sizes)
