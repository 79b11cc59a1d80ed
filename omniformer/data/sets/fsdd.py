"""Spoken digits: real recordings of six speakers."""

from dataclasses import dataclass
from typing import Literal

from omniformer_tokenizers.media import read_audio
from torch import Tensor

from omniformer.data.source import Split
from omniformer.data.table import Table

SAMPLE_RATE = 8000
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PACKED = "fsdd/fsdd_wav_8k.zip"
COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
ORIGINAL = f"fsdd/free-spoken-digit-dataset-{COMMIT}.zip"
URL = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{COMMIT}.zip"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """One digit, spoken once.

    Shapes:
        waveform float32 `[time]` at 8 kHz, within -1..1.
    """

    name: str  # digit, speaker, take
    digit: int
    speaker: str
    waveform: Tensor


class SpokenDigits(Table):
    """The digits 0 to 9 in English, 50 times by each of six speakers
    ([Free Spoken Digit Dataset](https://github.com/Jakobovski/free-spoken-digit-dataset), CC BY-SA 4.0), 8 kHz: a table
    over the archive of the recordings, or else of the whole repository.

    The official split: takes 0-4 of each digit and speaker test, the others train, of which takes 5-9 are kept for
    validation. All six speakers are in all three; `speaker` asks the harder question, how a voice that was never heard
    is understood.

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
        >>> SpokenDigits(data_root="data", speaker="theo").name
        'fsdd'
    """

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
        held_out = {"test": f"speaker == {speaker}", "out": "take < 5"}
        super().__init__(
            files=f"{PACKED} | {ORIGINAL}::*.wav",
            pattern=r"(?P<digit>\d)_(?P<speaker>[a-z]+)_(?P<take>[0-4]?\d)\.wav$",
            columns={"content": "audio", "digit": "label"},
            labels={str(digit): word for digit, word in enumerate(WORDS)},
            splits={**({"test": "take < 5"} if speaker is None else held_out), "val": "take < 10"},
            ids="fsdd/{split}/{digit}_{speaker}_{take}",
            fetch={ORIGINAL: URL},
            data_root=data_root,
            download=download,
        )

    def recordings(self, name: Split) -> list[Recording]:
        """The recordings that the samples of a split are made of, in the same order.

        Raises:
            ValueError: one cannot be read, or is not of 8 kHz; names it.
        """
        return [_recording(raw.id, raw.contents["audio"], int(raw.targets["label"])) for raw in self.split(name)]


def _recording(id: str, content: bytes, digit: int) -> Recording:
    try:
        waveform, rate = read_audio(content)
    except ValueError as error:
        raise ValueError(f"{id}: {error}") from error
    if rate != SAMPLE_RATE or len(waveform) != 1:
        raise ValueError(f"{id} has {rate} Hz and {len(waveform)} channel(s); expected {SAMPLE_RATE} Hz and one")
    name = id.rpartition("/")[2]
    return Recording(name=name, digit=digit, speaker=name.split("_")[1], waveform=waveform[0])
