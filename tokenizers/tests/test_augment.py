import pytest
import torch
from omniformer_tokenizers import GraphTokenizer, PatchTokenizer
from omniformer_tokenizers.augment import drop_tokens, flip_signs, mask_spectrogram, time_shift


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_dropping_keeps_order_values_and_positions():
    tokens = PatchTokenizer(patch_size=2)(torch.rand(3, 10, 10))
    kept = drop_tokens(tokens, generator(0), keep=0.4)
    assert len(kept) == 10
    places = (kept.positions[:, 0] * 5 + kept.positions[:, 1]).long()
    assert places.diff().gt(0).all()
    torch.testing.assert_close(kept.values, tokens.values[places])


def test_a_dropped_image_decodes_with_the_mean_colour_in_the_gaps():
    tokenizer = PatchTokenizer(patch_size=2)
    image = torch.full((3, 10, 10), 255, dtype=torch.uint8)
    decoded = tokenizer.decode(drop_tokens(tokenizer(image), generator(0), keep=0.4))
    assert decoded.shape == image.shape
    assert sorted(set(decoded.flatten().tolist())) == [128, 255]
    assert (decoded == 255).float().mean() == pytest.approx(0.4)


def test_at_least_one_token_stays():
    tokens = PatchTokenizer(patch_size=2)(torch.rand(3, 2, 2))
    assert len(drop_tokens(tokens, generator(0), keep=0.01)) == 1
    assert len(drop_tokens(PatchTokenizer()(torch.zeros(3, 0, 0)), generator(0), keep=0.5)) == 0


def test_tokens_with_edges_are_not_dropped():
    with pytest.raises(ValueError, match="tokens with edges cannot be dropped"):
        drop_tokens(GraphTokenizer()({"n_nodes": 2, "edges": []}), generator(0), keep=0.5)
    with pytest.raises(ValueError, match=r"keep=0 is outside \(0, 1\]"):
        drop_tokens(PatchTokenizer()(torch.zeros(3, 2, 2)), generator(0), keep=0)


def test_shifting_moves_without_wrapping_around():
    wave = torch.arange(1.0, 6.0)
    seen = {tuple(time_shift(wave, generator(seed), max_shift=2).tolist()) for seed in range(50)}
    assert seen == {(3, 4, 5, 0, 0), (2, 3, 4, 5, 0), (1, 2, 3, 4, 5), (0, 1, 2, 3, 4), (0, 0, 1, 2, 3)}
    assert time_shift(wave, generator(1), max_shift=1000).shape == wave.shape


def test_masks_are_stripes_of_the_mean_within_their_widths():
    frames = torch.randn(50, 20)
    masked = mask_spectrogram(frames, generator(3), time_masks=1, max_time=10, band_masks=1, max_bands=5)
    changed = masked != frames
    assert changed.any()
    assert (masked[changed] == frames.mean()).all()
    assert changed.all(1).sum() <= 10
    assert changed.all(0).sum() <= 5
    torch.testing.assert_close(masked[~changed], frames[~changed])
    assert mask_spectrogram(torch.zeros(0, 20), generator(0)).shape == (0, 20)


def test_signs_flip_whole_columns():
    tokens = GraphTokenizer(laplacian=3)({"n_nodes": 6, "edges": [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [0, 2]]})
    vectors = tokens.features["laplacian"]
    seen = set()
    for seed in range(60):
        flipped = flip_signs(tokens, generator(seed)).features["laplacian"]
        torch.testing.assert_close(flipped.abs(), vectors.abs())
        seen.add(tuple((flipped * vectors).sum(0).sign().tolist()))
    assert len(seen) == 8
    with pytest.raises(ValueError, match="no feature 'laplacian'; it has"):
        flip_signs(GraphTokenizer()({"n_nodes": 2, "edges": []}), generator(0))


@pytest.mark.parametrize(
    "change",
    [
        lambda g: time_shift(torch.arange(9.0), g, max_shift=5),
        lambda g: mask_spectrogram(torch.randn(30, 9, generator=generator(0)), g),
    ],
)
def test_the_generator_alone_decides(change):
    torch.testing.assert_close(change(generator(5)), change(generator(5)), rtol=0, atol=0)
    state = torch.get_rng_state()
    change(generator(5))
    assert torch.equal(state, torch.get_rng_state())
