"""Convolutions over grids that come as tiles: pictures and spectrograms."""

import pytest
import torch
from omniformer_tokenizers import PatchTokenizer, SpectrogramTokenizer, pack
from torch.nn import functional as F

from omniformer.embedders import GridStem

TOKENIZER = PatchTokenizer(patch_size=8, channels=3)


def picture(height, width, seed=0):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def stem(tokenizer=TOKENIZER, **options):
    torch.manual_seed(0)
    made = GridStem(d_model=5, **tokenizer.facts, width=4, **options)
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
    with pytest.raises(ValueError, match="must be tiles of even sides on two axes that do not overlap; set tokenizer"):
        stem(PatchTokenizer(**options))


def test_positions_that_are_no_rows_and_columns_are_refused():
    unit = PatchTokenizer(patch_size=8, coordinates="unit")
    with pytest.raises(ValueError, match="set tokenizer.coordinates=patches"):
        stem(unit)(pack([unit(picture(16, 16))]))


@pytest.mark.parametrize(
    ("time", "bands", "left"), [(16, 16, (1, 1)), (8, 16, (1, 2)), (4, 12, (1, 3)), (6, 4, (3, 2))]
)
def test_tiles_of_a_spectrogram_are_convolved_as_one_picture(time, bands, left):
    tokenizer = SpectrogramTokenizer(
        sample_rate=8000, n_mels=48, frames_per_token=time, bands_per_token=bands, normalize="none"
    )
    wave = torch.randn(3000, generator=torch.Generator().manual_seed(0))
    tokens, made = tokenizer(wave), stem(tokenizer)
    frames = F.pad(tokenizer.frames(wave), (0, 0, 0, -len(tokenizer.frames(wave)) % time), value=tokens.values.min())
    x = plain(made, frames[None] * 0.5 + 0.5)[0]  # `plain` takes pictures
    rows, columns = x.split(left[0], dim=1), 48 // bands
    expected = [made.map(tile.flatten()) for row in rows for tile in row.chunk(columns, dim=2)]
    assert x.shape[2] == columns * left[1]
    torch.testing.assert_close(made(pack([tokens])), torch.stack(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"frames_per_token": 8},  # no axis of bands
        {"frames_per_token": 8, "bands_per_token": 8, "frame_stride": 4},
        {"frames_per_token": 8, "bands_per_token": 8, "band_stride": 4},
        {"frames_per_token": 4, "bands_per_token": 16, "band_stride": 8},  # as many numbers as 8 x 8
        {"frames_per_token": 5, "bands_per_token": 8},
    ],
)
def test_frames_and_overlapping_tiles_of_sounds_are_refused(options):
    facts = dict(SpectrogramTokenizer(n_mels=64, **options).facts)
    with pytest.raises(ValueError, match="of sounds tokenizer.frames_per_token=8 and tokenizer.bands_per_token=8"):
        GridStem(**({"d_model": 4, "channels": 1} | facts))
