import pytest
import torch
from omniformer_tokenizers import KaldiTokenizer, MultiScaleTokenizer, SpectrogramTokenizer, WhisperTokenizer

WAVES = {
    "noise": 0.1 * torch.randn(37_000, generator=torch.Generator().manual_seed(0)),
    "chirp": 0.7 * torch.sin(torch.linspace(0, 150, 20_123) ** 2),
    "nearly silent": 1e-4 * torch.sin(torch.arange(9000) * 0.1),
    "silence": torch.zeros(8000),
}


@pytest.fixture(params=WAVES)
def wave(request) -> torch.Tensor:
    return WAVES[request.param]


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("seconds", [None, 30.0])
def test_whisper_frames_equal_those_of_transformers(wave, n_mels, seconds):
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=n_mels)
    padding = {"padding": False} if seconds is None else {}
    reference = extractor(wave.numpy(), sampling_rate=16000, return_tensors="pt", **padding).input_features[0].T
    ours = WhisperTokenizer(n_mels=n_mels, seconds=seconds)(wave)
    torch.testing.assert_close(ours.values, reference, rtol=0, atol=1e-4)
    assert ours.positions[:, 0].tolist() == list(range(len(reference)))


def test_whisper_cuts_what_is_longer_than_its_window():
    assert len(WhisperTokenizer(seconds=0.5)(torch.randn(16000))) == 50


def test_kaldi_frames_equal_those_of_transformers(wave):
    from transformers import ASTFeatureExtractor

    reference = ASTFeatureExtractor()(wave.numpy(), sampling_rate=16000, return_tensors="pt").input_values[0]
    ours = KaldiTokenizer()(wave).values
    torch.testing.assert_close(ours, reference[: len(ours)], rtol=0, atol=1e-4)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_kaldi_frames_equal_torchaudio_with_povey_window(wave, rate):
    from torchaudio.compliance.kaldi import fbank

    ours = KaldiTokenizer(sample_rate=rate, window="povey", mean=0.0, std=0.5, n_mels=40)(wave).values
    reference = fbank(wave[None], num_mel_bins=40, dither=0.0, sample_frequency=float(rate))
    torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-4)


def test_ast_patches_count_as_in_the_paper():
    tokenizer = KaldiTokenizer(frames_per_token=16, frame_stride=10, bands_per_token=16, band_stride=10)
    ten_seconds = torch.zeros(16000 * 10 + 16 * 160)
    tokens = tokenizer(ten_seconds)
    assert int(tokens.positions[:, 1].max()) + 1 == 12
    assert tokens.values.shape[1] == 256


def test_without_its_cut_whisper_keeps_what_is_longer_than_its_window():
    tokenizer = WhisperTokenizer(seconds=0.5, frames_per_token=2)
    short, long = torch.randn(5000), torch.randn(16000 + 160)
    assert torch.equal(tokenizer.uncut(short).values, tokenizer(short).values)
    found, whole = tokenizer.uncut(long), WhisperTokenizer()(long).values
    assert tokenizer.window == 25 and "left_out" not in found.facts
    assert torch.equal(found.values.reshape(-1, 80)[:101], whole) and not found.values[-1, 80:].any()
    assert len(tokenizer(long)) == 25


@pytest.mark.parametrize("cls", [WhisperTokenizer, KaldiTokenizer])
def test_features_that_lose_the_sound_say_so(cls):
    with pytest.raises(TypeError, match="has no inverse"):
        cls().decode(cls()(torch.randn(5000)))


def test_each_scale_averages_its_frames():
    tokenizer = MultiScaleTokenizer(scales=(1, 4, 16), n_mels=8, normalize="none")
    frames = tokenizer.frames(torch.randn(16000))
    tokens = tokenizer.from_frames(frames)
    fine, middle, coarse = (tokens.values[tokens.features["scale"] == kind] for kind in range(3))
    torch.testing.assert_close(fine, frames)
    torch.testing.assert_close(middle[3], frames[12:16].mean(0))
    torch.testing.assert_close(coarse[-1], frames[96:].mean(0))
    assert tokens.positions[tokens.features["scale"] == 1][:2, 0].tolist() == [1.5, 5.5]


def test_the_finest_scale_has_an_inverse():
    tokenizer = MultiScaleTokenizer(scales=(1, 4), n_mels=80)
    wave = torch.sin(torch.arange(8000) * 0.2)
    plain = SpectrogramTokenizer(n_mels=80)
    torch.testing.assert_close(tokenizer.to_frames(tokenizer(wave)), plain.frames(wave), rtol=1e-4, atol=1e-4)
    with pytest.raises(TypeError, match="no inverse unless its first scale is 1"):
        MultiScaleTokenizer(scales=(2,)).decode(MultiScaleTokenizer(scales=(2,))(wave))


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r"scales=\(\): give at least one"):
        MultiScaleTokenizer(scales=())
    with pytest.raises(ValueError, match=r"seconds=0\.0 must be positive"):
        WhisperTokenizer(seconds=0.0)
    with pytest.raises(ValueError, match=r"std=0\.0 must be positive"):
        KaldiTokenizer(std=0.0)


@pytest.mark.parametrize(
    "tokenizer", [WhisperTokenizer(seconds=1.0), KaldiTokenizer(n_frames=98)], ids=["Whisper", "AST"]
)
def test_what_is_cut_off_a_long_sound_is_a_fact(tokenizer):
    left_out = [float(tokenizer(torch.randn(16000 * n)).facts["left_out"]) for n in (1, 3)]
    assert left_out == pytest.approx([0.0, 2.0], abs=0.02)
    assert "left_out" not in WhisperTokenizer()(torch.randn(16000)).facts
