"""Media files in folders named after their classes: what pictures and sounds have in common."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from omniformer_tokenizers.files import files_below

from omniformer.core.ranges import BelowOne
from omniformer.data.sets.on_access import OnAccess
from omniformer.data.source import SPLITS, Raw, Source, Split, existing_folder
from omniformer.data.splitting import hashed_split, names_apart

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm")
SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One file of a data set: where it is (a text, since there may be very many), its class, and its split where the
    data set says so.
    """

    path: str
    label: str
    split: Split | None = None


def labelled_files(folder: Path, suffixes: Sequence[str]) -> list[Labelled]:
    """The files below `folder`, by name in order, as `train/cat/1.png` (with split) or `cat/1.png` (without).

    Hidden files and folders are passed over, and so are files without a known suffix, which a warning counts and names.
    Links are followed.

    Raises:
        ValueError: there is no file with a known suffix, one lies in no class folder, or only some of the splits have a
            folder.
    """
    named: list[Split] = [name for name in SPLITS if (folder / name).is_dir()]
    if named and "train" not in named:
        raise ValueError(f"{folder} has the split {named[0]!r} but no split 'train'; add it, or name no splits")
    roots: dict[Split | None, Path] = {}
    for name in named or [None]:
        roots[name] = folder / name if name else folder
    files: list[Labelled] = []
    others: list[str] = []
    for split, root in roots.items():
        for name in files_below(root):
            label, below, _ = name.partition("/")
            if not name.lower().endswith(tuple(suffixes)):
                others.append(f"{split}/{name}" if split else name)
            elif not below:
                raise ValueError(f"{root / name} lies in no class folder; expected {root}/<class>/{name}")
            else:
                files.append(Labelled(path=os.path.join(root, name), label=label, split=split))
    if named and (
        extra := [p.name for p in folder.iterdir() if p.is_dir() and p.name not in SPLITS and p.name[0] != "."]
    ):
        raise ValueError(f"{folder} has split folders and also {sorted(extra)[0]!r}; move it away or into a split")
    passed = f"{_counted(others)} of another kind than {', '.join(suffixes)}: {_some(others)}" if others else ""
    if not files:
        only = f"only {passed}" if others else "no files"
        raise ValueError(f"{folder} holds {only}; expected {folder}/<class>/*{suffixes[0]}")
    if others:
        warnings.warn(f"{folder}: passed over {passed}", stacklevel=2)
    return files


def _counted(names: Sequence[str]) -> str:
    return f"{len(names)} file{'s' if len(names) > 1 else ''}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def class_names(files: Sequence[Labelled]) -> tuple[str, ...]:
    """The classes by name in order.

    Raises:
        ValueError: a class of another split does not occur in training, so that it could not be learned.
    """
    names = sorted({file.label for file in files})
    known = {file.label for file in files if file.split in (None, "train")}
    if missing := sorted(set(names) - known):
        first = next(file for file in files if file.label == missing[0])
        raise ValueError(f"class {missing[0]!r} of {first.path} has no training file; add some, or remove the class")
    return tuple(names)


class MediaFolder(Source):
    """Files in class folders as samples, which hold their paths; split by hash within each class where no split is
    given. Where there is a training split but another one is missing, the missing one stays empty.

    A subclass names the one modality, and the suffixes of its files.
    """

    suffixes: tuple[str, ...]

    def __init__(self, *, root: str, data_root: str | None = None, val: BelowOne = 0.1, test: BelowOne = 0.1) -> None:
        self.root: Path = existing_folder(root, data_root)
        self.val, self.test = val, test

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the targets."""
        return class_names(self._files)

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order."""
        return self._splits[name]

    @cached_property
    def _files(self) -> list[Labelled]:
        return labelled_files(self.root, self.suffixes)

    @cached_property
    def _splits(self) -> dict[Split, Sequence[Raw]]:
        number, files = {label: i for i, label in enumerate(self.labels)}, self._files
        ids = _ids([file.path for file in files], self.root)
        split: dict[Split, list[int]]
        if all(file.split is None for file in files):
            split = hashed_split(ids, val=self.val, test=self.test, strata=[file.label for file in files])
        else:
            split = {name: [i for i, file in enumerate(files) if file.split == name] for name in SPLITS}
        (modality,) = self.modalities
        named = {name: [(ids[i], files[i]) for i in split[name]] for name in SPLITS}
        return {name: OnAccess(len(named[name]), partial(_raw, named[name], number, modality)) for name in SPLITS}


def _raw(named: Sequence[tuple[str, Labelled]], number: dict[str, int], modality: str, index: int) -> Raw:
    name, file = named[index]
    return Raw(id=name, contents={modality: Path(file.path)}, targets={"label": torch.tensor(number[file.label])})


def _ids(paths: Sequence[str], root: Path) -> list[str]:
    """Names of files that do not depend on where the data lie: from the root, or by as little as tells them apart."""
    before = os.path.join(root, "")
    if all(path.startswith(before) for path in paths):
        return [path.removeprefix(before).replace(os.sep, "/") for path in paths]
    return names_apart([Path(path) for path in paths])
