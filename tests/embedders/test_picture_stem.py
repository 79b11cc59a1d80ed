"""Convolutions over pictures that come as patches."""

import pytest
import torch
from omniformer_tokenizers import PatchTokenizer, pack
from torch.nn import functional as F

from omniformer.embedders import PictureStem

TOKENIZER = PatchTokenizer(patch_size=8, channels=3)


def picture(height, width, seed=0):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def stem(tokenizer=TOKENIZER, **options):
    torch.manual_seed(0)
    made = PictureStem(d_model=5, **tokenizer.facts, width=4, **options)
    for part in (*made.convs, *made.norms):
        torch.nn.init.normal_(part.bias)  # zeros around a picture would say something
    for norm in made.norms:
        torch.nn.init.normal_(norm.weight)
    return made


def plain(made, image):
    """The network of PyTorch over one picture whose sides are whole patches."""
    x = (image[None] - 0.5) / 0.5
    for conv, norm in zip(made.convs, made.norms, strict=True):
        x = F.group_norm(conv(x), 1, norm.weight, norm.bias)
        x = F.max_pool2d(x.relu(), 2)
    return x


def test_every_picture_is_convolved_as_if_it_were_alone():
    made, images = stem(), [picture(8, 24), picture(16, 8, 1), torch.zeros(3, 0, 0), picture(24, 24, 2)]
    out = made(pack([TOKENIZER(image) for image in images]))
    expected = torch.cat([made.map(plain(made, image)[0].flatten(1).T) for image in images if image.numel()])
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    found, wanted = (torch.autograd.grad((x * weights).sum(), list(made.parameters())) for x in (out, expected))
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("side", "n", "left"), [(2, 1, 1), (6, 1, 3), (8, 3, 1), (12, 2, 3), (16, 4, 1), (32, 4, 2)])
def test_larger_patches_have_more_convolutions(side, n, left):
    tokenizer = PatchTokenizer(patch_size=side, channels=1)
    made = stem(tokenizer)
    assert [conv.out_channels for conv in made.convs] == [4, 4, 8, 8][:n]
    assert made.map.in_features == [4, 4, 8, 8][n - 1] * left**2
    image = torch.rand(1, side, 2 * side)
    expected = torch.stack([made.map(each.flatten()) for each in plain(made, image)[0].split(left, dim=2)])
    torch.testing.assert_close(made(pack([tokenizer(image)])), expected, rtol=1e-4, atol=1e-5)


def test_a_grid_that_is_known_changes_nothing():
    fixed = PatchTokenizer(patch_size=8, channels=3, image_size=(16, 24))
    assert fixed.facts["grid"] == [2, 3]
    free, known = stem(), stem(fixed)
    assert free.reads is None
    assert known.reads.numbers == 192
    packed = pack([fixed(picture(16, 24)), fixed(picture(40, 40, 1))])
    torch.testing.assert_close(known(packed), free(packed))


def test_positions_are_added_behind_the_convolutions():
    class Places(torch.nn.Linear):
        def __init__(self, *, d_model, n_axes):
            super().__init__(n_axes, d_model)

    made, without, packed = stem(position=Places), stem(), pack([TOKENIZER(picture(16, 16))])
    without.load_state_dict(made.state_dict(), strict=False)
    torch.testing.assert_close(made(packed), without(packed) + made.position(packed.positions))


def test_no_patch_gives_zero_gradients_not_missing_ones():
    made = stem()
    made(pack([TOKENIZER(torch.zeros(3, 0, 0))])).sum().backward()
    assert all(each.grad is not None and not each.grad.any() for each in made.parameters())


@pytest.mark.parametrize("options", [{"patch_size": 5}, {"patch_size": 8, "stride": 4}])
def test_odd_patches_and_overlapping_ones_are_refused(options):
    with pytest.raises(ValueError, match="must be square patches of an even side that do not overlap; set tokenizer"):
        stem(PatchTokenizer(**options))


def test_positions_that_are_no_rows_and_columns_are_refused():
    unit = PatchTokenizer(patch_size=8, coordinates="unit")
    with pytest.raises(ValueError, match="set tokenizer.coordinates=patches"):
        stem(unit)(pack([unit(picture(16, 16))]))
