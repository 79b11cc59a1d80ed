import numpy as np
import pytest
import torch
from omniformer_tokenizers.audio.mel import filter_bank, mel_frames


def slow_mel(wave: np.ndarray, rate: int, n_mels: int, n_fft: int, hop: int) -> np.ndarray:
    """The definition, in loops: mirrored ends, Hann window, discrete Fourier sum, triangles in Hz on the HTK scale."""
    wave = np.pad(wave, (n_fft // 2, n_fft - n_fft // 2), mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = [700 * (10 ** (top * i / (n_mels + 1) / 2595) - 1) for i in range(n_mels + 2)]
    rows = []
    for start in range(0, len(wave) - n_fft + 1, hop):
        piece = wave[start : start + n_fft] * window
        bins = np.arange(n_fft // 2 + 1)
        turns = np.exp(-2j * np.pi * np.outer(bins, np.arange(n_fft)) / n_fft)
        power = np.abs(turns @ piece) ** 2
        row = []
        for low, centre, high in zip(edges, edges[1:], edges[2:], strict=False):
            hz = bins * rate / n_fft
            weight = np.maximum(0, np.minimum((hz - low) / (centre - low), (high - hz) / (high - centre)))
            row.append((weight * power).sum())
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("n", [299, 300, 301, 312])
@pytest.mark.parametrize("n_fft", [63, 64, 65])
@pytest.mark.parametrize("hop", [25, 24])
def test_frames_equal_the_definition_in_loops(n, n_fft, hop):
    wave = np.random.default_rng(0).standard_normal(n)
    ours = mel_frames(torch.from_numpy(wave).float()[None], sample_rate=800, n_mels=6, n_fft=n_fft, hop_length=hop)[0]
    expected = slow_mel(wave, 800, 6, n_fft, hop)[: 1 + n // hop]
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("scale", "norm"), [("htk", None), ("slaney", "slaney")])
@pytest.mark.parametrize("band", [(0.0, 8000.0), (100.0, 4000.0)])
def test_frames_equal_torchaudio(scale, norm, band):
    from torchaudio.transforms import MelSpectrogram

    waves = torch.randn(3, 5000)
    reference = MelSpectrogram(
        16000, 400, hop_length=160, f_min=band[0], f_max=band[1], n_mels=40, norm=norm, mel_scale=scale
    )(waves)
    ours = mel_frames(
        waves, sample_rate=16000, n_mels=40, n_fft=400, hop_length=160, f_min=band[0], f_max=band[1], scale=scale
    )
    torch.testing.assert_close(ours, reference.transpose(1, 2), rtol=1e-4, atol=1e-4 * float(reference.max()))


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 63, 64, 65])
def test_short_waves_have_a_frame_for_each_hop(n):
    frames = mel_frames(torch.ones(1, n), sample_rate=800, n_mels=4, n_fft=64, hop_length=16)
    assert frames.shape == (1, 1 + n // 16, 4)
    assert torch.isfinite(frames).all()


def test_an_empty_wave_has_no_frame():
    assert mel_frames(torch.ones(2, 0), sample_rate=800, n_mels=4, n_fft=64, hop_length=16).shape == (2, 0, 4)


def test_filters_of_slaney_have_equal_area():
    bank = filter_bank(4000, 20, 16000, 0.0, 8000.0, "slaney")
    torch.testing.assert_close(bank.sum(0) * 8000 / 2000, torch.ones(20), rtol=0.05, atol=0)
