"""One's own sounds, in folders named after their classes or listed in a table."""

import csv
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from omniformer.data.folders import Labelled, class_names, labelled_files, raws_by_split
from omniformer.data.source import SPLITS, Raw, Source, Split, existing_file, existing_folder

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")


class AudioFolder(Source):
    """Sounds as `<root>/<class>/*.wav`, as `<root>/{train,val,test}/<class>/*.wav`, or listed in a manifest.

    A manifest is a CSV with a header, or JSON lines, with the fields `path` (counted from `root`), `label`, and where
    the split is given `split`. Files are decoded by the tokenizer, in the data workers.

    Args:
        root: the folder; relative paths count from `data_root`.
        manifest: the table, counted from `root`; None takes the folders.
        data_root: where data lies on this machine; None means the current folder.
        val: the share of validation where no split is given.
        test: the share of test where no split is given.

    Raises:
        FileNotFoundError: there is no such folder or manifest.
        ValueError: a file is not a sound or lies in no class folder, or a row of the manifest is not understood; names
            the file, and the line.
    """

    def __init__(
        self,
        *,
        root: str,
        manifest: str | None = None,
        data_root: str | None = None,
        val: float = 0.1,
        test: float = 0.1,
    ) -> None:
        self.root: Path = existing_folder(root, data_root)
        self.manifest = None if manifest is None else existing_file(manifest, self.root)
        self.val = val
        self.test = test

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the targets."""
        return class_names(self._files)

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order."""
        return self._splits[name]

    @cached_property
    def _files(self) -> list[Labelled]:
        if self.manifest is None:
            return labelled_files(self.root, SUFFIXES)
        files = [_labelled(row, where, self.root) for where, row in _rows(self.manifest)]
        if not files:
            raise ValueError(f"{self.manifest} lists no files")
        if len({file.split is None for file in files}) > 1:
            raise ValueError(f"{self.manifest} gives a split for some files only; give one for all of them or for none")
        return files

    @cached_property
    def _splits(self) -> dict[Split, list[Raw]]:
        return raws_by_split(self._files, self.labels, root=self.root, modality="audio", val=self.val, test=self.test)


def _rows(manifest: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a manifest, each with the place it comes from."""
    with manifest.open(encoding="utf-8", newline="") as file:
        if manifest.suffix.lower() == ".csv":
            reader = csv.DictReader(file)
            for row in reader:
                yield f"{manifest}, line {reader.line_num}", row
            return
        for number, line in enumerate(file, start=1):
            where = f"{manifest}, line {number}"
            try:
                row = json.loads(line) if line.strip() else None
            except ValueError as error:
                raise ValueError(f"{where}: not JSON: {error}") from error
            if row is not None and not isinstance(row, dict):
                raise ValueError(f"{where}: expected an object with 'path' and 'label', received {line.strip()[:60]!r}")
            if row is not None:
                yield where, row


def _labelled(row: dict[str, Any], where: str, root: Path) -> Labelled:
    for field in ("path", "label"):
        if row.get(field) in (None, ""):
            raise ValueError(f"{where}: no {field!r}; every row needs 'path' and 'label', and may have 'split'")
    split = row.get("split") or None
    if split is not None and split not in SPLITS:
        raise ValueError(f"{where}: split {split!r} is not known; use one of {', '.join(SPLITS)}")
    path = root / str(row["path"])
    if not path.is_file():
        raise ValueError(f"{where}: there is no file {path}")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{where}: {path} is not one of {', '.join(SUFFIXES)}")
    return Labelled(path=path, label=str(row["label"]), split=split)
