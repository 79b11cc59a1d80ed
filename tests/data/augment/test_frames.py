import pytest
import torch
from omniformer_tokenizers import SpectrogramTokenizer
from omniformer_tokenizers.augment import mask_spectrogram

from omniformer.data.augment import SpecAugment

WAVE = torch.randn(8000, generator=torch.Generator().manual_seed(0))


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("frames_per_token", [1, 2, 5])
def test_stripes_run_through_the_frames_of_the_tokens(frames_per_token):
    tokenizer = SpectrogramTokenizer(sample_rate=8000, n_mels=40, frames_per_token=frames_per_token)
    tokens, before = tokenizer(WAVE), tokenizer(WAVE).values
    masked = SpecAugment(n_mels=40, max_time=9, max_bands=4)(tokens, chance())
    frames = mask_spectrogram(before.reshape(-1, 40), chance(), max_time=9, max_bands=4)
    assert torch.equal(masked.values.reshape(-1, 40), frames) and not torch.equal(masked.values, before)
    assert torch.equal(masked.positions, tokens.positions) and torch.equal(tokens.values, before)


@pytest.mark.parametrize(
    ("tokenizer", "n_mels"),
    [
        ({"frames_per_token": 2, "frame_stride": 1}, 40),
        ({"frames_per_token": 2, "bands_per_token": 20, "frame_stride": 1}, 40),
        ({"frames_per_token": 2, "bands_per_token": 16, "band_stride": 8}, 40),
        ({}, 30),
    ],
)
def test_tokens_that_are_no_frames_side_by_side_are_refused(tokenizer, n_mels):
    tokens = SpectrogramTokenizer(sample_rate=8000, n_mels=40, **tokenizer)(WAVE)
    with pytest.raises(ValueError, match="SpecAugment reads tokens of whole frames side by side"):
        SpecAugment(n_mels=n_mels)(tokens, chance())


@pytest.mark.parametrize(("time", "bands"), [(2, 20), (4, 8), (1, 40)])
def test_stripes_run_through_tiles_of_the_spectrogram(time, bands):
    tokenizer = SpectrogramTokenizer(
        sample_rate=8000, n_mels=40, frames_per_token=time, bands_per_token=bands, normalize="none"
    )
    tokens = tokenizer(WAVE)
    n = tokens.facts["frames"] = torch.tensor(len(tokens) // (40 // bands) * time)  # with what fills up the last
    frames = mask_spectrogram(tokenizer.to_frames(tokens), chance(), max_time=9, max_bands=4)
    masked = SpecAugment(n_mels=40, max_time=9, max_bands=4)(tokens, chance())
    assert torch.equal(tokenizer.to_frames(masked), frames) and not torch.equal(frames, tokenizer.to_frames(tokens))
    assert len(frames) == n and torch.equal(masked.positions, tokens.positions)


def test_a_sound_without_frames_stays_one():
    tokens = SpectrogramTokenizer(sample_rate=8000, n_mels=40)(WAVE[:0])
    assert len(SpecAugment(n_mels=40)(tokens, chance())) == 0


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="max_time=-1 must be at least 0"):
        SpecAugment(n_mels=40, max_time=-1)
