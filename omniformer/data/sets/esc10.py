"""Ten kinds of sounds around us."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import torch

from omniformer.core.ranges import Natural
from omniformer.data.sets.archives import members
from omniformer.data.sets.reading import laid_out_or_original
from omniformer.data.source import Raw, Source, Split

FOLDS = 5
CLASSES = (
    "dog_bark",
    "rain",
    "sea_waves",
    "baby_cry",
    "clock_tick",
    "person_sneeze",
    "helicopter",
    "chainsaw",
    "rooster",
    "fire_crackling",
)
PACKED = "esc10/esc10_ogg_16k.zip"
COMMIT = "553c8f1743b9dba6b282e1323c3ca8fa76923448"
ORIGINAL = f"esc10/ESC-10-{COMMIT}.zip"
URL = f"https://github.com/karoldvl/ESC-10/archive/{COMMIT}.zip"
_TABLE = "meta.csv"
# In the repository a folder is called "001 - Dog bark", a file 1-30226-A.ogg: fold, clip, take.
_ORIGINAL_FILE = re.compile(r"(?:.*/)?\d{3} - ([^/]+)/((\d)-\d+-[A-Z]\.ogg)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One sound, still encoded."""

    name: str
    fold: int
    label: int
    content: bytes


class ESC10(Source):
    """Five seconds each of dogs, rain, sea waves, babies, clocks, sneezes, helicopters, chainsaws, roosters and fires
    ([Piczak 2015](https://doi.org/10.1145/2733373.2806390), ESC-10, CC BY 3.0).

    400 clips, 40 of each class, in the five official folds: all pieces of one recording are in one fold. Published
    scores are the mean over five runs, one a fold. The contents are files in Ogg Vorbis, decoded by the tokenizer.

    Read is `esc10/esc10_ogg_16k.zip`, in which every clip was encoded anew at 16 kHz and brought to 5 s, or else the
    archive of the repository, which is what is fetched. Both give the same ids, order, splits and labels, but not the
    same sound: the original has 44.1 kHz, and the encoding loses something. Compare scores only within one of them.

    Args:
        data_root: the folder in which `esc10` lies; None means the current folder.
        download: fetch the archive of the repository where neither file is there.
        fold: this fold tests (80 clips), the one before it validates (80; 5 comes before 1), the others train (240).

    Raises:
        FileNotFoundError: there is no archive, and `download` is off.
        ValueError: no such fold, or a file that cannot be read or is of no known class; names archive and file.

    Example:
        >>> ESC10(fold=1).labels[0]
        'dog bark'
    """

    modalities = ("audio",)

    def __init__(self, *, data_root: str | None = None, download: bool = False, fold: Natural = 5) -> None:
        if not 1 <= fold <= FOLDS:
            raise ValueError(f"fold={fold} is not one of the five folds 1..{FOLDS}")
        self.data_root = data_root
        self.download = download
        self.fold = fold

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes as words, in the order of the targets."""
        return tuple(each.replace("_", " ") for each in CLASSES)

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, ordered by class and name."""
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[Split, list[Raw]]:
        before = FOLDS if self.fold == 1 else self.fold - 1
        parts: dict[int, Split] = {self.fold: "test", before: "val"}
        splits: dict[Split, list[Raw]] = {"train": [], "val": [], "test": []}
        for clip in self._clips:
            name = parts.get(clip.fold, "train")
            splits[name].append(
                Raw(
                    id=f"esc10/{name}/{CLASSES[clip.label]}/{clip.name}",
                    contents={"audio": clip.content},
                    targets={"label": torch.tensor(clip.label)},
                )
            )
        return splits

    @cached_property
    def _clips(self) -> list[Clip]:
        file = laid_out_or_original(PACKED, ORIGINAL, data_root=self.data_root, url=URL, download=self.download)
        sounds = members(file, ".ogg")
        tables = members(file, _TABLE)
        clips = _listed(file, tables[_TABLE], sounds) if _TABLE in tables else _named(file, sounds)
        if not clips:
            raise ValueError(f"{file} holds no sounds; fetch it anew")
        return sorted(clips, key=lambda clip: (clip.label, clip.name))


def _listed(archive: Path, table: bytes, sounds: dict[str, bytes]) -> list[Clip]:
    """The clips that a table lists."""
    clips = []
    for row, fields in enumerate(csv.DictReader(io.StringIO(table.decode("utf-8", errors="replace")))):
        where = f"{archive}: {_TABLE}, row {row}"
        file, label, fold = (str(fields.get(name)) for name in ("file", "label", "fold"))
        if file not in sounds:
            raise ValueError(f"{where} names {file!r}, which is not in the archive")
        clips.append(_clip(where, PurePosixPath(file).stem, fold, label, sounds[file]))
    return clips


def _named(archive: Path, sounds: dict[str, bytes]) -> list[Clip]:
    """The clips by the names of their folders and files, as the repository has them."""
    clips = []
    for file, content in sounds.items():
        match = _ORIGINAL_FILE.fullmatch(file)
        if match is None:
            raise ValueError(f"{archive}: {file!r} is not named '<number> - <class>/<fold>-<clip>-<take>.ogg'")
        label = match[1].lower().replace(" ", "_")
        clips.append(_clip(f"{archive}: {file!r}", PurePosixPath(match[2]).stem, match[3], label, content))
    return clips


def _clip(where: str, name: str, fold: str, label: str, content: bytes) -> Clip:
    if label not in CLASSES:
        raise ValueError(f"{where} is of the class {label!r}; known are {', '.join(CLASSES)}")
    if fold not in [str(each + 1) for each in range(FOLDS)]:
        raise ValueError(f"{where} is in the fold {fold!r}; expected 1..{FOLDS}")
    if not content:
        raise ValueError(f"{where} is an empty file")
    return Clip(name=name, fold=int(fold), label=CLASSES.index(label), content=content)
