import numpy as np
import pytest
import soundfile
import torch
from torchaudio.functional import resample

from omniformer.data.augment import AudioJitter, Reverberation, Speed

WAVE = torch.randn(400, generator=torch.Generator().manual_seed(0))
ALL = [AudioJitter(gain=6, shift=0.01, noise=-20), Speed(), Reverberation(seconds=0.02)]


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def test_changes_of_nothing_change_nothing():
    for change in (AudioJitter(), Speed(factors=[1.0]), Reverberation(seconds=0)):
        wave, rate = change((WAVE, 8000), chance())
        assert torch.equal(wave, WAVE) and rate == 8000


@pytest.mark.parametrize("change", ALL, ids=lambda change: type(change).__name__)
@pytest.mark.parametrize("shape", [(400,), (2, 200)])
def test_all_randomness_comes_from_the_generator_and_nothing_given_is_changed(change, shape):
    raw, own = WAVE.reshape(shape).clone(), torch.get_rng_state()
    drawn = [change((raw, 8000), chance(seed))[0] for seed in (1, 1, 2, 3, 4)]
    assert torch.equal(drawn[0], drawn[1])
    assert any(drawn[0].shape != each.shape or not torch.equal(drawn[0], each) for each in drawn[2:])
    assert drawn[0].shape[:-1] == raw.shape[:-1]
    assert torch.equal(raw, WAVE.reshape(shape)) and torch.equal(torch.get_rng_state(), own)


@pytest.mark.parametrize("change", ALL, ids=lambda change: type(change).__name__)
def test_a_sound_of_no_length_stays_one(change):
    wave, rate = change((torch.zeros(0), 8000), chance())
    assert wave.shape == (0,) and rate == 8000


@pytest.mark.parametrize("change", ALL, ids=lambda change: type(change).__name__)
def test_files_are_decoded_first(change, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(100, dtype=np.float32), 8000)
    wave, rate = change(tmp_path / "a.wav", chance())
    assert len(wave) == 1 and rate == 8000


def test_gain_is_a_factor_within_its_decibels():
    factors = [float(AudioJitter(gain=6)((WAVE, 8000), chance(seed))[0][0] / WAVE[0]) for seed in range(50)]
    assert 0.5 <= min(factors) < 0.7
    assert 1.5 < max(factors) < 2


def test_a_moved_sound_is_the_sound_with_silence_at_one_end():
    for seed in range(10):
        moved, _ = AudioJitter(shift=0.02)((WAVE, 8000), chance(seed))
        shifts = [k for k in range(-160, 161) if torch.equal(moved, rolled(WAVE, k))]
        assert len(shifts) == 1


def rolled(wave, by):
    samples = wave.tolist()
    moved = [0.0] * by + samples[: len(samples) - by] if by >= 0 else samples[-by:] + [0.0] * -by
    return torch.tensor(moved)


def test_noise_has_the_level_asked_for():
    noisy, _ = AudioJitter(noise=-20)((WAVE.repeat(100), 8000), chance())
    ratio = (noisy - WAVE.repeat(100)).std() / WAVE.std()
    assert float(ratio) == pytest.approx(0.1, rel=0.05)


def test_speed_is_another_rate_played_at_the_old_one():
    lengths = set()
    for seed in range(20):
        wave, _ = Speed(factors=[0.5, 2.0])((WAVE, 8000), chance(seed))
        lengths.add(len(wave))
        torch.testing.assert_close(wave, resample(WAVE, 16000 if len(wave) == 200 else 4000, 8000))
    assert lengths == {200, 800}


def test_an_echo_follows_the_sound_falls_and_keeps_its_loudness():
    click = torch.zeros(8000)
    click[2000] = 1.0
    heard = torch.stack([Reverberation(seconds=1.0, level=1.0)((click, 8000), chance(seed))[0] for seed in range(200)])
    assert heard[:, :2000].abs().max() < 1e-4
    energy = heard.square().mean(0)
    assert energy[2001:2801].sum() > 5 * energy[4401:5201].sum() > 25 * energy[6801:7601].sum()
    torch.testing.assert_close(heard.square().mean(1), click.square().mean().expand(200), rtol=1e-3, atol=0)


def test_an_echo_equals_the_sum_of_delayed_copies(monkeypatch):
    monkeypatch.setattr(torch, "randn", lambda n, **_: torch.ones(n))
    monkeypatch.setattr(torch, "rand", lambda n, **_: torch.ones(n))
    found, _ = Reverberation(seconds=0.005, level=0.5)((WAVE, 1000), chance())
    room = 10 ** (-3 * torch.arange(5) / 5)
    room = room / room.square().sum().sqrt()
    wet = sum(room[k] * torch.cat([torch.zeros(k), WAVE[: 400 - k]]) for k in range(5))
    expected = 0.5 * WAVE + 0.5 * wet
    torch.testing.assert_close(found, expected * WAVE.square().mean().sqrt() / expected.square().mean().sqrt())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AudioJitter(gain=-1), "gain=-1 must be at least 0"),
        (lambda: Speed(factors=[]), "has no speed to draw"),
        (lambda: Speed(factors=[0]), "factors=0 must be above 0"),
        (lambda: Reverberation(seconds=-1), "seconds=-1 must be at least 0"),
        (lambda: Reverberation(level=2), "level=2 must be in 0 to 1"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("change", ALL, ids=lambda change: type(change).__name__)
def test_a_waveform_without_its_rate_is_refused(change):
    with pytest.raises(TypeError, match="expected a pair"):
        change(WAVE, chance())
