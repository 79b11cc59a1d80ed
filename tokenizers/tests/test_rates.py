import math

import numpy as np
import pytest
import torch
from omniformer_tokenizers import (
    MuLawTokenizer,
    SpectrogramTokenizer,
    WaveformTokenizer,
    WhisperTokenizer,
    limits,
    rates,
)
from omniformer_tokenizers.rates import resampled


def by_definition(wave: np.ndarray, rate: int, target: int) -> np.ndarray:
    """A sinc under a squared cosine of 6 zero crossings, summed for every output in double precision."""
    cut = 0.99 * min(rate, target)
    outputs = []
    for m in range(min(2000, math.ceil(len(wave) * target / rate))):
        distance = (np.arange(len(wave)) / rate - m / target) * cut
        window = np.where(abs(distance) < 6, np.cos(distance * np.pi / 12) ** 2, 0.0)
        outputs.append((wave * np.sinc(distance) * window).sum() * cut / rate)
    return np.array(outputs)


@pytest.mark.parametrize("rate", [11127, 15999, 16001, 44056, 47999, 101, 190_003])
def test_rates_without_a_common_factor_equal_the_definition(rate):
    wave = np.random.default_rng(rate).standard_normal(700)
    ours = resampled(torch.from_numpy(wave).float(), rate, 16000)
    assert len(ours) == math.ceil(700 * 16000 / rate)
    np.testing.assert_allclose(ours[:2000].numpy(), by_definition(wave, rate, 16000), atol=5e-6)


@pytest.mark.parametrize(("rate", "target"), [(44100, 16000), (8000, 16000), (48000, 44100), (16000, 11025)])
def test_both_ways_of_computing_agree(rate, target, monkeypatch):
    wave = torch.randn(3000, generator=torch.Generator().manual_seed(0))
    table = resampled(wave, rate, target)
    monkeypatch.setattr(rates, "_KERNEL_NUMBERS", 0)
    torch.testing.assert_close(resampled(wave, rate, target), table, rtol=0, atol=2e-4)  # theirs is less exact


def test_a_tone_keeps_its_frequency_and_level():
    time = torch.arange(11127 // 2, dtype=torch.float64) / 11127
    ours = resampled(torch.sin(2 * torch.pi * 440 * time).float(), 11127, 16000)
    expected = torch.sin(2 * torch.pi * 440 * torch.arange(len(ours), dtype=torch.float64) / 16000)
    assert float((ours - expected)[50:-50].abs().max()) < 5e-3


@pytest.mark.parametrize("rate", [4, 7, 8000.0, 11127, 96_001, 767_999, 768_000])
@pytest.mark.parametrize(
    "tokenizer",
    [SpectrogramTokenizer(), WhisperTokenizer(), WaveformTokenizer(), MuLawTokenizer()],
    ids=lambda each: type(each).__name__,
)
def test_every_tokenizer_takes_any_rate(rate, tokenizer):
    tokens = tokenizer((torch.ones(int(rate) // 4), rate))
    assert len(tokens) > 0


@pytest.mark.parametrize("rate", [0, -1, 768_001, 4_294_967_295, 22050.5, float("nan"), float("inf"), True])
def test_absurd_rates_are_refused(rate):
    with pytest.raises(
        ValueError, match=rf"sample rate {rate} Hz is not accepted; give a whole number from 1 to 768000"
    ):
        resampled(torch.ones(4), rate, 16000)


def test_what_would_become_too_long_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="1000000 samples of 1 Hz become 16000000000 of 16000 Hz; at most 500000000"):
        resampled(torch.ones(1_000_000), 1, 16000)
    with pytest.raises(ValueError, match="a sound of 768000 Hz was to become one of 2 Hz; at most 4096 times"):
        resampled(torch.ones(10), 768_000, 2)
    monkeypatch.setenv(limits.VARIABLE, "0.00000001")
    with pytest.raises(ValueError, match="at most 5 are accepted"):
        resampled(torch.ones(10), 2, 3)


def test_memory_grows_with_the_sound_not_with_the_rates(monkeypatch):
    most = 0
    outer = torch.sinc

    def sinc(numbers: torch.Tensor) -> torch.Tensor:
        nonlocal most
        most = max(most, numbers.numel())
        return outer(numbers)

    monkeypatch.setattr(torch, "sinc", sinc)
    assert len(resampled(torch.ones(5000), 11127, 16000)) == 7190
    assert 0 < most <= 262_144
