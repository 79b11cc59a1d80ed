"""Spoken vowels made by a source-filter model from published formant averages; the test speakers are held out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from omniformer.data.source import Raw, Source, Split
from omniformer.terminal.progress import counted

SAMPLE_RATE = 8000
VOWELS = ("i", "ɪ", "ɛ", "æ", "ɑ", "ɔ", "ʊ", "u", "ʌ", "ɝ")  # noqa: RUF001 phonetic letters
WORDS = ("heed", "hid", "head", "had", "hod", "hawed", "hood", "who'd", "hud", "heard")
GROUPS = ("man", "woman", "child")

# Peterson and Barney, Control methods used in a study of the vowels, J. Acoust. Soc. Am. 24 (1952), table II:
# for each group, (F0, F1, F2, F3) in Hz, one row a vowel in the order of VOWELS.
AVERAGES = {
    "man": (
        (136, 270, 2290, 3010),
        (135, 390, 1990, 2550),
        (130, 530, 1840, 2480),
        (127, 660, 1720, 2410),
        (124, 730, 1090, 2440),
        (129, 570, 840, 2410),
        (137, 440, 1020, 2240),
        (141, 300, 870, 2240),
        (130, 640, 1190, 2390),
        (133, 490, 1350, 1690),
    ),
    "woman": (
        (235, 310, 2790, 3310),
        (232, 430, 2480, 3070),
        (223, 610, 2330, 2990),
        (210, 860, 2050, 2850),
        (212, 850, 1220, 2810),
        (216, 590, 920, 2710),
        (232, 470, 1160, 2680),
        (231, 370, 950, 2670),
        (221, 760, 1400, 2780),
        (218, 500, 1640, 1960),
    ),
    "child": (
        (272, 370, 3200, 3730),
        (269, 530, 2730, 3600),
        (260, 690, 2610, 3570),
        (251, 1010, 2320, 3320),
        (256, 1030, 1370, 3170),
        (263, 680, 1060, 3180),
        (276, 560, 1410, 3310),
        (274, 430, 1170, 3260),
        (261, 850, 1590, 3360),
        (261, 560, 1820, 2160),
    ),
}
_SPEAKERS: dict[Split, int] = {"train": 60, "val": 12, "test": 24}
_FIRST: dict[Split, int] = {"train": 0, "val": 1000, "test": 2000}
_INNER_RATE = 2 * SAMPLE_RATE  # the glottal pulse is made at twice the rate, so that its edge aliases little
# How far speakers and takes stray from the averages, as standard deviations of log frequency. Chosen so that, as in
# the 1952 data, neighbouring vowels overlap between speakers; see the ceiling in docs/data.md.
_TRACT, _HABIT, _TAKE = 0.05, 0.035, 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """What one recording is made from; frequencies in Hz, `seconds` long."""

    id: str
    seed: tuple[int, int, int]
    vowel: int
    group: str
    f0: float
    formants: tuple[float, float, float]
    seconds: float


class Vowels(Source):
    """Isolated American English vowels of men, women and children (averages: Peterson and Barney 1952), synthesised.

    Glottal pulses (Rosenberg 1971) with a falling or rising pitch, jitter, shimmer and breath noise pass a cascade of
    five resonators (Klatt 1980), a small room and a noise floor at some level. Each speaker has a length of vocal
    tract and own habits for every vowel; each take strays a little and lasts 0.2 to 0.8 s, at 8 kHz. 60 speakers
    train, 12 others validate, 24 others test; a third of each are men, women, children; each says every vowel three
    times. The same waveforms come out on every machine, to rounding.

    Example:
        >>> vowels = Vowels()
        >>> len(vowels.utterances("test")), vowels.facts["n_classes"]
        (720, 10)
    """

    modalities = ("audio",)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the targets."""
        return tuple(f"{vowel} ({word})" for vowel, word in zip(VOWELS, WORDS, strict=True))

    @property
    def facts(self) -> dict[str, Any]:
        """The number of classes, and the sample rate in Hz."""
        return {"n_classes": len(VOWELS), "sample_rate": SAMPLE_RATE}

    def utterances(self, name: Split) -> list[Utterance]:
        """What the recordings of a split are made from: the truth that a classifier of formants may know."""
        return _utterances(name)

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order."""
        return _recordings(name)


@lru_cache(maxsize=3)
def _recordings(name: Split) -> list[Raw]:
    """The waveforms of a split, kept in memory: up to 30 MB as float32."""
    return [
        Raw(
            id=utterance.id,
            contents={"audio": (torch.from_numpy(synthesize(utterance)), SAMPLE_RATE)},
            targets={"label": torch.tensor(utterance.vowel)},
        )
        for utterance in counted(_utterances(name), f"synthesising vowels ({name})", len(_utterances(name)))
    ]


@lru_cache(maxsize=3)
def _utterances(name: Split) -> list[Utterance]:
    return [
        utterance
        for number in range(_FIRST[name], _FIRST[name] + _SPEAKERS[name])
        for utterance in _speaker(number, name)
    ]


def _speaker(number: int, split: Split) -> list[Utterance]:
    """All takes of one speaker: what stays the same in them is drawn once."""
    chance = np.random.default_rng((1952, number))
    group = GROUPS[number % 3]
    tract = np.exp(_TRACT * chance.standard_normal())
    pitch = np.exp(0.12 * chance.standard_normal())
    habits = np.exp(_HABIT * chance.standard_normal((len(VOWELS), 3)))
    takes = []
    for vowel, (f0, *formants) in enumerate(AVERAGES[group]):
        for take in range(3):
            stray = np.exp(_TAKE * chance.standard_normal(3))
            f1, f2, f3 = np.array(formants) * tract * habits[vowel] * stray
            takes.append(
                Utterance(
                    id=f"vowels/{split}/{group}-{number}/{WORDS[vowel]}-{take}",
                    seed=(number, vowel, take),
                    vowel=vowel,
                    group=group,
                    f0=float(f0 * pitch * np.exp(0.04 * chance.standard_normal())),
                    formants=(float(f1), float(f2), float(f3)),
                    seconds=float(chance.uniform(0.2, 0.8)),
                )
            )
    return takes


def synthesize(utterance: Utterance) -> NDArray[np.float32]:
    """The waveform of an utterance.

    Shapes:
        float32 `[time]` at 8 kHz, within -1..1.
    """
    from scipy.signal import decimate, sosfilt

    chance = np.random.default_rng((52, *utterance.seed))
    source = _glottal_flow(utterance, chance)
    voice = sosfilt(_resonators(utterance, chance), source)
    voice *= _envelope(len(voice))
    wave = _room(decimate(voice, 2, ftype="fir"), chance)
    wave /= np.abs(wave).max()
    noise = chance.standard_normal(len(wave)) * 10 ** (-chance.uniform(20, 40) / 20) * wave.std()
    level = 10 ** (-chance.uniform(2, 20) / 20)
    return np.clip(level * (wave + noise), -1, 1).astype(np.float32)


def _glottal_flow(utterance: Utterance, chance: np.random.Generator) -> NDArray[np.float64]:
    """The derivative of the air flow through the glottis, with breath noise while it is open."""
    n = int(utterance.seconds * _INNER_RATE)
    time = np.linspace(0, 1, n)
    slope, bend = chance.normal(-0.08, 0.06), chance.normal(0, 0.04)
    f0 = utterance.f0 * np.exp(slope * (time - 0.5) + bend * np.sin(np.pi * time))
    period = np.cumsum(f0).astype(int) // _INNER_RATE  # the number of the period each sample falls in
    f0 *= np.exp(0.01 * chance.standard_normal(period[-1] + 1))[period]  # jitter: 1 % from period to period
    phase = np.cumsum(f0) / _INNER_RATE
    period, phase = phase.astype(int), phase % 1
    opening, closing = 0.4, 0.16  # Rosenberg's shares of the period
    rising = phase < opening
    falling = (phase >= opening) & (phase < opening + closing)
    flow = np.zeros(n)
    flow[rising] = np.sin(np.pi * phase[rising] / opening) * np.pi / (2 * opening)
    flow[falling] = -np.sin(np.pi / 2 * (phase[falling] - opening) / closing) * np.pi / (2 * closing)
    flow *= np.exp(0.05 * chance.standard_normal(period[-1] + 1))[period]  # shimmer
    breath = 10 ** (-chance.uniform(15, 35) / 20) * flow.std()
    return flow + breath * chance.standard_normal(n) * (0.3 + (rising | falling))


def _resonators(utterance: Utterance, chance: np.random.Generator) -> NDArray[np.float64]:
    """Five second-order resonators in cascade, each with gain 1 at frequency 0 (Klatt 1980)."""
    length = {"man": 1.0, "woman": 1.17, "child": 1.3}[utterance.group]  # F4 and F5 follow the length of the tract
    frequencies = np.array([*utterance.formants, 3500 * length, 4500 * length])
    bandwidths = np.array([60, 90, 150, 250, 300]) * np.exp(0.15 * chance.standard_normal(5))
    frequencies = np.minimum(frequencies, 0.45 * _INNER_RATE)
    radius = np.exp(-np.pi * bandwidths / _INNER_RATE)
    a1 = -2 * radius * np.cos(2 * np.pi * frequencies / _INNER_RATE)
    a2 = radius**2
    zeros, ones = np.zeros(5), np.ones(5)
    return np.stack([1 + a1 + a2, zeros, zeros, ones, a1, a2], axis=1)


def _envelope(n: int) -> NDArray[np.float64]:
    """A soft beginning of 20 ms and a softer end of 50 ms."""
    time = np.arange(n) / _INNER_RATE
    return np.clip(time / 0.02, 0, 1) * np.clip((n / _INNER_RATE - time) / 0.05, 0, 1)


def _room(wave: NDArray[np.float64], chance: np.random.Generator) -> NDArray[np.float64]:
    """A little reverberation: noise that decays by 60 dB in 0.1 to 0.3 s, well below the direct sound."""
    from scipy.signal import oaconvolve

    decay = chance.uniform(0.1, 0.3)
    time = np.arange(int(decay * SAMPLE_RATE)) / SAMPLE_RATE
    echo = chance.standard_normal(len(time)) * 10 ** (-3 * time / decay)
    echo *= 10 ** (-chance.uniform(8, 20) / 20) / np.sqrt((echo**2).sum())
    echo[0] = 1
    return oaconvolve(wave, echo)[: len(wave)]
