"""Spoken digits: real recordings of six speakers."""

import io
import re
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from omniformer.data.sets.archives import members
from omniformer.data.sets.reading import laid_out_or_original
from omniformer.data.source import Raw, Source, Split

SAMPLE_RATE = 8000
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PACKED = "fsdd/fsdd_wav_8k.zip"
COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
ORIGINAL = f"fsdd/free-spoken-digit-dataset-{COMMIT}.zip"
URL = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{COMMIT}.zip"
TAKES = 50  # recordings of each digit by each speaker
_FILE = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """One digit, spoken once.

    Shapes:
        waveform float32 `[time]` at 8 kHz, within -1..1.
    """

    digit: int
    speaker: str
    take: int
    waveform: Tensor

    @property
    def name(self) -> str:
        """The name of its file, without the ending: digit, speaker, take."""
        return f"{self.digit}_{self.speaker}_{self.take}"


class SpokenDigits(Source):
    """The digits 0 to 9 in English, 50 times by each of six speakers
    ([Free Spoken Digit Dataset](https://github.com/Jakobovski/free-spoken-digit-dataset), CC BY-SA 4.0).

    3,000 recordings of 0.14 to 2.3 s at 8 kHz. The official split: takes 0-4 of each digit and speaker test (300), the
    others train, of which takes 5-9 are kept for validation (300). All six speakers are in all three; `speaker` asks
    the harder question, how a voice that was never heard is understood.

    Read is `fsdd/fsdd_wav_8k.zip`, the recordings alone, or else the archive of the repository, which is what is
    fetched; both give the same samples.

    Args:
        data_root: the folder in which `fsdd` lies; None means the current folder.
        download: fetch the archive of the repository (17 MB) where neither file is there.
        speaker: this speaker is held out: all 500 recordings of the voice are the test; of the other five, takes 5-9
            validate (250) and takes 10-49 train (2,000). Their takes 0-4 are not used, so that the training set is
            that of the official split without one voice. None takes the official split.

    Raises:
        FileNotFoundError: there is no archive, and `download` is off.
        ValueError: no such speaker, or a recording that cannot be read; names the archive and the file.

    Example:
        >>> digits = SpokenDigits()
        >>> digits.labels[7], digits.facts["n_classes"]
        ('seven', 10)
    """

    modalities = ("audio",)

    def __init__(
        self,
        *,
        data_root: str | None = None,
        download: bool = False,
        speaker: Literal["george", "jackson", "lucas", "nicolas", "theo", "yweweler"] | None = None,
    ) -> None:
        if speaker not in (None, "george", "jackson", "lucas", "nicolas", "theo", "yweweler"):
            raise ValueError(
                f"speaker={speaker!r} is not known; choose george, jackson, lucas, nicolas, theo, yweweler, or null "
                "for the official split"
            )
        self.data_root = data_root
        self.download = download
        self.speaker = speaker

    @property
    def labels(self) -> tuple[str, ...]:
        """The digits as words, in the order of the targets."""
        return WORDS

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, ordered by digit, speaker and take."""
        return self._splits[name]

    def recordings(self, name: Split) -> list[Recording]:
        """The recordings that the samples of a split are made of, in the same order.

        Raises:
            ValueError: there is none in this split; names the archive.
        """
        found = [each for each in self._recordings if self._split_of(each) == name]
        if not found:
            held_out = f" with speaker={self.speaker!r}" if self.speaker else ""
            raise ValueError(f"{self._archive} holds no recording for the split {name!r}{held_out}; fetch it anew")
        return found

    def _split_of(self, recording: Recording) -> Split | None:
        if self.speaker is not None and recording.speaker == self.speaker:
            return "test"
        if recording.take < 5:
            return "test" if self.speaker is None else None
        return "val" if recording.take < 10 else "train"

    @cached_property
    def _splits(self) -> dict[Split, list[Raw]]:
        return {
            name: [
                Raw(
                    id=f"fsdd/{name}/{each.name}",
                    contents={"audio": (each.waveform, SAMPLE_RATE)},
                    targets={"label": torch.tensor(each.digit)},
                )
                for each in self.recordings(name)
            ]
            for name in ("train", "val", "test")
        }

    @cached_property
    def _archive(self) -> Path:
        return laid_out_or_original(PACKED, ORIGINAL, data_root=self.data_root, url=URL, download=self.download)

    @cached_property
    def _recordings(self) -> list[Recording]:
        files = members(self._archive, ".wav")
        found = [_recording(PurePosixPath(name).name, content, self._archive) for name, content in files.items()]
        return sorted(found, key=lambda each: (each.digit, each.speaker, each.take))


def _recording(file: str, content: bytes, archive: Path) -> Recording:
    match = _FILE.fullmatch(file)
    if match is None or int(match[3]) >= TAKES:
        raise ValueError(f"{archive}: {file!r} is not named digit_speaker_take.wav, with a take below {TAKES}")
    return Recording(
        digit=int(match[1]), speaker=match[2], take=int(match[3]), waveform=_waveform(content, f"{archive}: {file!r}")
    )


def _waveform(content: bytes, where: str) -> Tensor:
    """The samples of a WAV file of 8 kHz, one channel and 16 bits."""
    try:
        with wave.open(io.BytesIO(content)) as sound:
            kind = (sound.getnchannels(), sound.getframerate(), 8 * sound.getsampwidth())
            announced, frames = sound.getnframes(), sound.readframes(sound.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{where} cannot be read as WAV: {error}") from error
    if kind != (1, SAMPLE_RATE, 16):
        raise ValueError(f"{where} has (channels, Hz, bits) {kind}; expected (1, {SAMPLE_RATE}, 16)")
    if not announced or len(frames) != 2 * announced:
        raise ValueError(f"{where} holds {len(frames)} bytes of sound; expected {2 * announced}, and more than none")
    return torch.from_numpy(np.frombuffer(frames, dtype="<i2").astype(np.float32) / 32768)
