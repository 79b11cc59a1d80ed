import pytest
import torch
from omniformer_tokenizers import MuLawTokenizer, Wav2Vec2Tokenizer, WaveformTokenizer


def test_frames_are_windows_of_the_wave():
    wave = torch.arange(10.0)
    tokens = WaveformTokenizer(frame_length=4, stride=3)(wave)
    assert tokens.values.tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert tokens.positions.flatten().tolist() == [0, 1, 2]


@pytest.mark.parametrize(("n", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (7, 2), (8, 3)])
def test_every_sample_is_in_a_frame(n, tokens):
    tokenizer = WaveformTokenizer(frame_length=4, stride=3)
    wave = torch.randn(n)
    assert len(tokenizer(wave)) == tokens
    torch.testing.assert_close(tokenizer.decode(tokenizer(wave)), wave)


def test_mu_law_equals_torchaudio():
    from torchaudio.functional import mu_law_decoding, mu_law_encoding

    wave = torch.linspace(-1, 1, 10_001)
    for levels in (2, 16, 256):
        tokenizer = MuLawTokenizer(levels=levels)
        tokens = tokenizer(wave)
        expected = mu_law_encoding(wave, levels)
        assert (tokens.values - expected).abs().max() <= 1
        assert (tokens.values != expected).float().mean() < 1e-3  # rounding at the borders of levels
        torch.testing.assert_close(tokenizer.decode(tokens), mu_law_decoding(tokens.values, levels))


def test_quiet_samples_come_back_more_exactly():
    tokenizer = MuLawTokenizer()
    for peak, error in ((1.0, 0.023), (0.01, 0.0006)):
        wave = torch.linspace(-peak, peak, 1001)
        assert (tokenizer.decode(tokenizer(wave)) - wave).abs().max() < error


def test_too_loud_samples_are_clipped():
    assert MuLawTokenizer()(torch.tensor([-3.0, 3.0])).values.tolist() == [0, 255]


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="stride=5 exceeds frame_length=4"):
        WaveformTokenizer(frame_length=4, stride=5)
    with pytest.raises(ValueError, match="levels=1 is too small; give 2"):
        MuLawTokenizer(levels=1)


def test_a_window_is_a_token_and_the_last_one_holds_what_is_left():
    wave = torch.arange(23.0) + 1
    tokens = Wav2Vec2Tokenizer(window=6, stride=4, normalize=False)(wave)
    assert tokens.values.shape == (5, 9) and int(tokens.facts["samples"]) == 23
    assert tokens.values[1].tolist() == list(range(5, 14))
    assert tokens.values[4].tolist() == [*range(17, 24), 0, 0]


def test_a_sound_is_normalised_as_a_whole():
    wave = torch.randn(900) * 0.1 + 3
    tokenizer = Wav2Vec2Tokenizer()
    tokens = tokenizer(wave)
    heard = torch.cat([tokens.values[:-1, :320].flatten(), tokens.values[-1]])[:900]
    torch.testing.assert_close(heard, (wave - wave.mean()) / wave.std(correction=0), rtol=1e-3, atol=1e-3)
    with pytest.raises(TypeError, match="no inverse with normalize=True"):
        tokenizer.decode(tokens)


def test_a_sound_of_less_than_a_window_is_refused():
    with pytest.raises(ValueError, match="received a sound of 399 samples at 16000 Hz; give 400 or more"):
        Wav2Vec2Tokenizer()(torch.zeros(399))
    assert len(Wav2Vec2Tokenizer()(torch.zeros(400))) == 1
