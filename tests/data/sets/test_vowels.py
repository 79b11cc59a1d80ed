import numpy as np
import pytest

from omniformer.data.sets.vowels import AVERAGES, SAMPLE_RATE, VOWELS, Utterance, Vowels, synthesize

SPLITS = ("train", "val", "test")


def utterance(**changes):
    values = {"id": "x", "seed": (1, 2, 3), "vowel": 0, "group": "man", "f0": 120.0, "seconds": 0.8}
    return Utterance(**values | {"formants": (500.0, 1500.0, 2500.0)} | changes)


def spectrum(wave):
    """Power by frequency, smoothed over 20 Hz or so."""
    power = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 1 << 15)) ** 2
    return np.fft.rfftfreq(1 << 15, 1 / SAMPLE_RATE), power


def test_every_split_has_its_own_speakers():
    speakers = {name: {u.id.split("/")[2] for u in Vowels().utterances(name)} for name in SPLITS}
    assert [len(speakers[name]) for name in SPLITS] == [60, 12, 24]
    assert len(set.union(*speakers.values())) == 96


@pytest.mark.parametrize("name", SPLITS)
def test_every_speaker_says_every_vowel_three_times(name):
    utterances = Vowels().utterances(name)
    counts = np.bincount([u.vowel for u in utterances])
    assert counts.tolist() == [len(utterances) // 10] * 10
    assert len({u.id for u in utterances}) == len(utterances)


def test_formants_and_pitch_scatter_around_the_published_averages():
    for group, rows in AVERAGES.items():
        for vowel in range(10):
            said = [u for u in Vowels().utterances("train") if u.group == group and u.vowel == vowel]
            mean = np.exp(np.mean([np.log([u.f0, *u.formants]) for u in said], axis=0))
            assert np.allclose(mean / rows[vowel], 1, atol=0.12)


def test_the_table_orders_groups_as_in_speech():
    for vowel in range(10):
        man, woman, child = (AVERAGES[group][vowel] for group in ("man", "woman", "child"))
        assert all(m < w < c for m, w, c in zip(man, woman, child, strict=True))


def test_the_spectrum_peaks_at_the_formants():
    frequencies, power = spectrum(synthesize(utterance(f0=100.0)))
    harmonics = [
        power[np.abs(frequencies - 100 * k).argmin() - 120 : np.abs(frequencies - 100 * k).argmin() + 120].max()
        for k in range(1, 36)
    ]
    for formant in (500, 1500, 2500):
        k = formant // 100 - 1
        around = harmonics[k - 4 : k + 5]
        assert abs(int(np.argmax(around[1:8])) - 3) <= 1


def test_the_pitch_is_that_of_the_utterance():
    wave = synthesize(utterance(f0=200.0)).astype(float)
    correlation = np.correlate(wave, wave, "full")[len(wave) :]
    lag = 20 + int(np.argmax(correlation[20:80])) + 1
    assert SAMPLE_RATE / lag == pytest.approx(200, rel=0.08)


def test_the_same_utterance_gives_the_same_waveform_and_another_take_another():
    assert np.array_equal(synthesize(utterance()), synthesize(utterance()))
    assert not np.array_equal(synthesize(utterance()), synthesize(utterance(seed=(1, 2, 4))))


def test_lengths_are_ragged_and_waveforms_are_sound():
    vowels = Vowels()
    raws = vowels.split("val")
    lengths = {len(raw.contents["audio"][0]) for raw in raws}
    assert len(lengths) > 300
    assert min(lengths) > 0.19 * SAMPLE_RATE
    assert max(lengths) < 0.81 * SAMPLE_RATE
    for raw, said in zip(raws, vowels.utterances("val"), strict=True):
        wave, rate = raw.contents["audio"]
        assert rate == SAMPLE_RATE
        assert raw.id == said.id
        assert int(raw.targets["label"]) == said.vowel
        assert bool(wave.isfinite().all())
        assert 0.02 < float(wave.abs().max()) <= 1


def test_facts_name_classes_and_rate():
    assert dict(Vowels().facts) == {"n_classes": 10, "sample_rate": 8000}
    assert len(Vowels().labels) == len(VOWELS) == 10
