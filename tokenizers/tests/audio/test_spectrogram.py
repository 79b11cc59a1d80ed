import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from omniformer_tokenizers import MultiScaleTokenizer, SpectrogramTokenizer


def tone(hz: float, rate: int, seconds: float = 1.0) -> torch.Tensor:
    return 0.5 * torch.sin(torch.arange(int(rate * seconds)) * (2 * torch.pi * hz / rate))


def test_tokens_join_frames_in_order_and_fill_up_the_last():
    tokenizer = SpectrogramTokenizer(n_mels=8, frames_per_token=4, normalize="none")
    wave = torch.randn(1600)
    frames = tokenizer.frames(wave)
    tokens = tokenizer(wave)
    assert len(frames) == 11
    assert len(tokens) == 3
    torch.testing.assert_close(tokens.values[1], frames[4:8].flatten(), rtol=0, atol=0)
    assert (tokens.values[2].reshape(4, 8)[3] == frames.min()).all()


def test_patches_overlap_in_time_and_frequency():
    tokenizer = SpectrogramTokenizer(
        n_mels=12, frames_per_token=4, frame_stride=2, bands_per_token=6, band_stride=3, normalize="none"
    )
    wave = torch.randn(1600)
    frames, tokens = tokenizer.frames(wave), tokenizer(wave)
    for value, (time, band) in zip(tokens.values, tokens.positions.long().tolist(), strict=True):
        window = frames[2 * time : 2 * time + 4, 3 * band : 3 * band + 6]
        torch.testing.assert_close(value.reshape(4, 6)[: len(window)], window, rtol=0, atol=0)
    assert tokens.positions.max(0).values.tolist() == [4, 2]


@given(
    n_frames=st.integers(0, 30),
    time=st.integers(1, 6).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))),
    normalize=st.sampled_from(["sample", "bands", "none"]),
)
def test_every_number_of_frames_comes_back(n_frames, time, normalize):
    tokenizer = SpectrogramTokenizer(
        n_mels=4, frames_per_token=time[0], frame_stride=time[1], normalize=normalize, n_fft=64, hop_length=32
    )
    frames = torch.randn(n_frames, 4, generator=torch.Generator().manual_seed(n_frames))
    tokens = tokenizer.from_frames(frames)
    torch.testing.assert_close(tokenizer.to_frames(tokens), frames, rtol=1e-4, atol=1e-5)
    assert torch.isfinite(tokens.values).all()


@pytest.mark.parametrize("normalize", ["sample", "bands", "none"])
@pytest.mark.parametrize("patches", [{}, {"bands_per_token": 8, "band_stride": 4, "frame_stride": 2}])
def test_frames_come_back_from_tokens(normalize, patches):
    tokenizer = SpectrogramTokenizer(n_mels=16, frames_per_token=3, normalize=normalize, **patches)
    wave = torch.randn(3000)
    torch.testing.assert_close(tokenizer.to_frames(tokenizer(wave)), tokenizer.frames(wave), rtol=1e-5, atol=1e-5)


def test_normalised_sounds_do_not_tell_their_level():
    tokenizer = SpectrogramTokenizer(n_mels=16)
    wave = tone(440, 16000) + 0.1 * torch.randn(16000)
    loud, quiet = tokenizer(wave), tokenizer(wave * 0.1)
    torch.testing.assert_close(loud.values, quiet.values, rtol=1e-3, atol=1e-3)
    assert abs(float(loud.values.mean())) < 1e-4
    assert float(loud.values.std()) == pytest.approx(1, abs=1e-3)


def test_bands_that_lose_their_means_do_not_tell_what_a_microphone_does_to_a_whole_recording():
    tokenizer = SpectrogramTokenizer(n_mels=16, normalize="bands")
    frames = torch.randn(30, 16)
    plain, other = tokenizer.from_frames(frames), tokenizer.from_frames(frames + torch.randn(16))
    torch.testing.assert_close(plain.values, other.values, rtol=1e-4, atol=1e-5)
    assert float(plain.values.mean(0).abs().max()) < 1e-5 and float(plain.values.std(correction=0)) == pytest.approx(1)


@pytest.mark.parametrize("normalize", ["sample", "bands", "none"])
def test_sounds_of_one_length_are_cut_together_as_one_by_one(normalize):
    tokenizer = SpectrogramTokenizer(n_mels=16, frames_per_token=3, normalize=normalize)
    sounds = torch.randn(3, 4000)
    for values, sound in zip(tokenizer.of_stack(sounds)[0], sounds, strict=True):
        torch.testing.assert_close(values, tokenizer(sound).values, rtol=1e-4, atol=1e-4)


def test_stretched_words_have_as_many_tokens_each_of_the_same_part_of_a_word():
    tokenizer = SpectrogramTokenizer(n_mels=8, frames_per_token=2, stretch_to=10, normalize="none")
    rising = torch.linspace(0, 1, 40)[:, None].expand(40, 8)
    slow, fast = tokenizer.from_frames(rising), tokenizer.from_frames(rising[::2])
    assert slow.values.shape == fast.values.shape == (5, 16)
    torch.testing.assert_close(slow.values, fast.values, rtol=0, atol=0.02)
    for tokens, length in ((slow, 40), (fast, 20)):
        back = tokenizer.to_frames(tokens)
        torch.testing.assert_close(back, torch.linspace(0, 1, length)[:, None].expand(length, 8), rtol=0, atol=0.06)
    sounds = torch.randn(3, 4000)
    for values, sound in zip(tokenizer.of_stack(sounds)[0], sounds, strict=True):
        torch.testing.assert_close(values, tokenizer(sound).values, rtol=1e-4, atol=1e-4)
    assert len(tokenizer(torch.zeros(0))) == 0


@pytest.mark.parametrize("wave", [torch.zeros(4000), torch.full((4000,), 0.3), torch.full((9000,), 1e9)])
def test_silence_constants_and_extremes_stay_finite(wave):
    tokens = SpectrogramTokenizer(n_mels=16)(wave)
    assert torch.isfinite(tokens.values).all()


def test_the_loudest_band_is_that_of_the_tone():
    tokenizer = SpectrogramTokenizer(n_mels=40, normalize="none")
    bands = [int(tokenizer.frames(tone(hz, 16000)).mean(0).argmax()) for hz in (200, 800, 3000)]
    assert bands[0] < bands[1] < bands[2]


def test_another_rate_is_resampled():
    tokenizer = SpectrogramTokenizer(n_mels=40, normalize="none")
    same, other = tokenizer.frames(tone(800, 16000)), tokenizer.frames((tone(800, 44100), 44100))
    assert abs(len(same) - len(other)) <= 1
    assert int(same.mean(0).argmax()) == int(other.mean(0).argmax())


def test_stereo_follows_the_stated_policy():
    left, right = tone(300, 16000), tone(3000, 16000)
    stereo = torch.stack([left, right])
    first = SpectrogramTokenizer(downmix="first")
    torch.testing.assert_close(first(stereo).values, first(left).values)
    mean = SpectrogramTokenizer(downmix="mean")
    torch.testing.assert_close(mean(stereo).values, mean((left + right) / 2).values)
    with pytest.raises(ValueError, match="received 2 channels; expected one, or downmix='mean'"):
        SpectrogramTokenizer(downmix="error")(stereo)


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3"])
def test_files_and_their_bytes_are_decoded(tmp_path, audio_bytes, format):
    content = audio_bytes(format)
    path = tmp_path / f"a.{format.lower()}"
    path.write_bytes(content)
    tokenizer = SpectrogramTokenizer(sample_rate=8000, n_mels=16, n_fft=200, hop_length=80)
    values = tokenizer(path).values
    assert values.shape[0] >= 50
    torch.testing.assert_close(values, tokenizer(content).values, rtol=0, atol=0)


def test_the_inverse_sounds_alike():
    tokenizer = SpectrogramTokenizer(n_mels=80, normalize="sample")
    wave = tone(500, 16000) + 0.3 * tone(1500, 16000) + 0.02 * torch.randn(16000)
    back = tokenizer.decode(tokenizer(wave))
    assert back.shape == wave.shape
    error = (tokenizer.frames(back)[2:-2] - tokenizer.frames(wave)[2:-2]).abs().mean()
    assert error < 0.6  # natural logarithms of energy: 2.6 dB
    assert len(tokenizer.decode(tokenizer(torch.zeros(0)))) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_mels": 0}, "n_mels=0 is too small"),
        ({"f_max": 9000.0}, r"f_max=9000.0: need 0 <= f_min < f_max <= sample_rate / 2 = 8000.0"),
        ({"f_min": 9000.0}, "f_min=9000.0"),
        ({"bands_per_token": 81}, "bands_per_token=81 exceeds n_mels=80"),
        ({"frames_per_token": 2, "frame_stride": 3}, "frame_stride=3 exceeds the token's 2"),
        ({"bands_per_token": 2, "band_stride": 3}, "band_stride=3 exceeds the token's 2"),
        ({"bands_per_token": 5, "n_mels": 16}, "bands_per_token=5 every 5 bands leaves the top 1 of n_mels=16 out"),
        ({"bands_per_token": 8, "band_stride": 5, "n_mels": 16}, "leaves the top 3 of n_mels=16 out; choose n_mels=13"),
        ({"normalize": "batch"}, "normalize='batch' is not known; choose one of 'sample', 'bands', 'none'"),
        ({"downmix": "left"}, "downmix='left' is not known"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SpectrogramTokenizer(**arguments)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (torch.zeros(2, 3, 4), r"received torch.float32 \[2, 3, 4\]; expected floats \[time\]"),
        (torch.zeros(4, dtype=torch.int16), "received torch.int16"),
        (torch.tensor([0.0, torch.inf]), "the waveform reaches inf; expected finite numbers"),
        (torch.tensor([torch.nan, 0.0]), "the waveform reaches nan"),
        (torch.tensor([0.0, -1e30]), "the waveform reaches 1e\\+30.*at most 1e\\+09"),
        ((torch.zeros(4), 0), "sample rate 0 Hz is not accepted; give a whole number from 1 to 768000"),
    ],
)
def test_sounds_of_another_kind_are_refused(raw, message):
    with pytest.raises(ValueError, match=message):
        SpectrogramTokenizer()(raw)


@pytest.mark.parametrize("n_fft", [551, 552, 63])
@pytest.mark.parametrize("hop_length", [220, 221, 7])
@pytest.mark.parametrize("n", [220 * 30, 221 * 30, 6601, 300, 3])
def test_every_frame_is_of_the_sound_whatever_the_window_and_the_hop(n_fft, hop_length, n):
    settings = {"sample_rate": 22050, "n_mels": 20, "n_fft": n_fft, "hop_length": hop_length}
    wave = torch.randn(n, generator=torch.Generator().manual_seed(0))
    frames = SpectrogramTokenizer(**settings).frames(wave)
    torch.full((1000, 1000), 23.8)  # what memory holds that is used again
    again = SpectrogramTokenizer(**settings).frames(wave)
    assert len(frames) == 1 + n // hop_length
    torch.testing.assert_close(frames, again, rtol=0, atol=0)
    scales = MultiScaleTokenizer(scales=(1, 4), **settings)(wave)
    assert int((scales.features["scale"] == 0).sum()) == len(frames)
    assert torch.isfinite(scales.values).all()


@pytest.mark.parametrize("n_fft", [399, 400, 551])
def test_sounds_of_odd_windows_come_back_alike(n_fft):
    tokenizer = SpectrogramTokenizer(n_fft=n_fft, n_mels=80)
    wave = tone(500, 16000) + 0.02 * torch.randn(16000)
    assert tokenizer.decode(tokenizer(wave)).shape == wave.shape


@pytest.mark.parametrize("n", [0, 1, 159, 160, 320, 500])
def test_the_shortest_sounds_can_be_listened_to(n):
    tokenizer = SpectrogramTokenizer(n_mels=20)
    back = tokenizer.decode(tokenizer(torch.randn(n)))
    assert len(back) == n // 160 * 160
    assert torch.isfinite(back).all()


@pytest.mark.parametrize("downmix", ["mean", "first", "error"])
def test_a_sound_without_a_channel_is_refused_and_one_of_many_is_not(downmix):
    tokenizer = SpectrogramTokenizer(downmix=downmix)
    with pytest.raises(ValueError, match=r"received \[0, 100\], a sound without a channel"):
        tokenizer(torch.zeros(0, 100))
    if downmix != "error":
        assert len(tokenizer(torch.zeros(100_000, 200))) == 2


@pytest.mark.parametrize("top_db", [80.0, 20.0])
def test_nothing_lies_further_below_the_loudest_in_decibels(top_db):
    wave = torch.cat([tone(440, 16000, 0.2) + 0.01 * torch.randn(3200), torch.zeros(3200)])
    tokenizer = SpectrogramTokenizer(n_mels=16, top_db=top_db, normalize="none")
    energies = SpectrogramTokenizer(n_mels=16, normalize="none").frames(wave).exp()
    decibels = 10 * energies.log10()
    decibels = decibels.clamp(min=decibels.max().item() - top_db)  # librosa's power_to_db
    torch.testing.assert_close(tokenizer.frames(wave) * 10 / math.log(10), decibels, rtol=1e-4, atol=1e-3)
    assert float(decibels.max() - decibels.min()) == pytest.approx(top_db, abs=1e-3)


def test_the_range_is_that_of_each_sound_and_counts_before_it_is_normalised():
    tokenizer = SpectrogramTokenizer(n_mels=8, top_db=30.0)
    sounds = [torch.cat([level * torch.randn(1600), torch.zeros(1600)]) for level in (1.0, 0.01)]
    stacked, _, _ = tokenizer.of_stack(torch.stack(sounds))
    for values, sound in zip(stacked, sounds, strict=True):
        frames = tokenizer.frames(sound)
        assert float(frames.max() - frames.min()) == pytest.approx(3 * math.log(10), rel=1e-4)
        torch.testing.assert_close(values, tokenizer(sound).values, rtol=1e-4, atol=1e-4)
    assert len(tokenizer(torch.zeros(0))) == len(SpectrogramTokenizer(n_mels=8)(torch.zeros(0)))
    for wrong in (0.0, -80.0, math.inf):
        with pytest.raises(ValueError, match="must be positive: decibels, such as 80; or None"):
            SpectrogramTokenizer(top_db=wrong)
