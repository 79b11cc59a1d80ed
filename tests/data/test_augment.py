import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from omniformer.data.augment import AudioJitter, ImageJitter

IMAGE = torch.randint(0, 256, (3, 9, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
WAVE = torch.randn(400, generator=torch.Generator().manual_seed(0))


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_jitter_of_nothing_changes_nothing():
    assert torch.equal(ImageJitter()(IMAGE, chance()), IMAGE)
    wave, rate = AudioJitter()((WAVE, 8000), chance())
    assert torch.equal(wave, WAVE)
    assert rate == 8000


@pytest.mark.parametrize(
    ("jitter", "raw"),
    [
        (ImageJitter(shift=0.1, rotate=10, scale=0.1, flip=0.5, noise=0.1), IMAGE),
        (AudioJitter(gain=6, shift=0.01, noise=-20), (WAVE, 8000)),
    ],
)
def test_all_randomness_comes_from_the_generator(jitter, raw):
    first, again, other = (jitter(raw, chance(seed)) for seed in (1, 1, 2))
    first, again, other = (x[0] if isinstance(x, tuple) else x for x in (first, again, other))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (raw[0] if isinstance(raw, tuple) else raw).shape


def test_a_certain_flip_mirrors_left_and_right():
    assert torch.equal(ImageJitter(flip=1)(IMAGE, chance()), IMAGE.flip(-1))


def test_a_shift_moves_a_bright_spot_by_at_most_its_share_of_the_side():
    image = torch.zeros(1, 21, 21)
    image[0, 10, 10] = 1
    rows, columns = [], []
    for seed in range(50):
        moved = ImageJitter(shift=0.2)(image, chance(seed))[0]
        weight = moved / moved.sum()
        rows.append(float((weight.sum(1) * torch.arange(21)).sum()) - 10)
        columns.append(float((weight.sum(0) * torch.arange(21)).sum()) - 10)
    assert 3 < max(map(abs, rows)) <= 4.3
    assert 3 < max(map(abs, columns)) <= 4.3


def test_a_turn_keeps_distances_whatever_the_aspect_ratio():
    image = torch.zeros(1, 41, 81)
    image[0, 20, 52] = 1
    for seed in range(20):
        turned = ImageJitter(rotate=30)(image, chance(seed))[0]
        weight = turned / turned.sum()
        row = float((weight.sum(1) * torch.arange(41)).sum()) - 20
        column = float((weight.sum(0) * torch.arange(81)).sum()) - 40
        assert (row**2 + column**2) ** 0.5 == pytest.approx(12, abs=0.3)


def test_files_are_decoded_first(tmp_path):
    Image.fromarray(IMAGE.permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    assert torch.equal(ImageJitter()(tmp_path / "a.png", chance()), IMAGE)
    soundfile.write(tmp_path / "a.wav", np.zeros(100, dtype=np.float32), 8000)
    wave, rate = AudioJitter()(tmp_path / "a.wav", chance())
    assert wave.shape == (1, 100)
    assert rate == 8000


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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ImageJitter(shift=2), r"shift=2 must be in 0\.\.1"),
        (lambda: ImageJitter(rotate=-1), r"rotate=-1 must be in 0\.\.180"),
        (lambda: ImageJitter(channels=2), "channels=2 is not known"),
        (lambda: AudioJitter(gain=-1), r"gain=-1 must be in 0\.\.inf"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_waveform_without_its_rate_is_refused():
    with pytest.raises(TypeError, match="expected a pair"):
        AudioJitter()(WAVE, chance())
