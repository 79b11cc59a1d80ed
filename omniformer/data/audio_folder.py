"""One's own sounds, in folders named after their classes or listed in a table."""

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from omniformer_tokenizers.files import lines_of, read_text

from omniformer.core.ranges import BelowOne
from omniformer.data.folders import Labelled, class_names, labelled_files, raws_by_split
from omniformer.data.source import SPLITS, Raw, Source, Split, existing_file, existing_folder

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")
_DELIMITERS = (",", ";", "\t")


class AudioFolder(Source):
    """Sounds as `<root>/<class>/*.wav`, as `<root>/{train,val,test}/<class>/*.wav`, or listed in a manifest.

    A manifest is a table with a header (`.csv` or `.tsv`; commas, semicolons or tabs between the fields, blanks around
    them do not count), or JSON lines, with the fields `path` (counted from `root`), `label`, and where the split is
    given `split`. Files are decoded by the tokenizer, in the data workers.

    Args:
        root: the folder; a relative path is looked for where one stands, then under `data_root`.
        manifest: the table, counted from `root`; None takes the folders.
        data_root: where data lies on this machine; None means the current folder alone.
        val: the share of validation where no split is given.
        test: the share of test where no split is given.

    Raises:
        FileNotFoundError: there is no such folder or manifest.
        ValueError: a sound lies in no class folder, or a row of the manifest is not understood; names the file, and the
            line.
    """

    modalities = ("audio",)

    def __init__(
        self,
        *,
        root: str,
        manifest: str | None = None,
        data_root: str | None = None,
        val: BelowOne = 0.1,
        test: BelowOne = 0.1,
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
        files = list(self._listed(self.manifest))
        if not files:
            raise ValueError(f"{self.manifest} lists no files")
        if len({file.split is None for file in files}) > 1:
            raise ValueError(f"{self.manifest} gives a split for some files only; give one for all of them or for none")
        return files

    def _listed(self, manifest: Path) -> Iterator[Labelled]:
        """The files of a manifest, without those of broken rows where these are passed over."""
        for where, row in _rows(manifest):
            try:
                yield _labelled(_fields(row, where), where, self.root)
            except ValueError as error:
                self.pass_over(error)

    @cached_property
    def _splits(self) -> dict[Split, Sequence[Raw]]:
        return raws_by_split(self._files, self.labels, root=self.root, modality="audio", val=self.val, test=self.test)


def _rows(manifest: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """The rows of a manifest, each with the place it comes from; those of JSON lines not yet read."""
    text = read_text(manifest)
    if manifest.suffix.lower() in (".csv", ".tsv"):
        header = text.split("\n", 1)[0]
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_delimiter(header), skipinitialspace=True)
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        for row in reader:
            yield f"{manifest}, line {reader.line_num}", row
        return
    for number, line in enumerate(lines_of(text), start=1):
        if line.strip():
            yield f"{manifest}, line {number}", line


def _delimiter(header: str) -> str:
    """What stands between the fields of a table: what makes the first line name a path, or else a comma."""
    for delimiter in _DELIMITERS:
        names = next(csv.reader([header], delimiter=delimiter, skipinitialspace=True), [])
        if "path" in [name.strip() for name in names]:
            return delimiter
    return ","


def _fields(row: dict[Any, Any] | str, where: str) -> dict[str, Any]:
    """The fields of a row by name."""
    if isinstance(row, str):
        try:
            fields = json.loads(row)
        except ValueError as error:
            raise ValueError(f"{where}: not JSON: {error}") from error
        if not isinstance(fields, dict):
            raise ValueError(f"{where}: expected an object with 'path' and 'label', received {row.strip()[:60]!r}")
        return fields
    if None in row:
        raise ValueError(
            f"{where}: has {len(row) - 1 + len(row[None])} fields, the header names {len(row) - 1}; put a field that "
            "holds the delimiter in double quotes"
        )
    return {name: value.strip() if isinstance(value, str) else value for name, value in row.items()}


def _labelled(row: dict[str, Any], where: str, root: Path) -> Labelled:
    for field in ("path", "label"):
        if row.get(field) in (None, ""):
            raise ValueError(f"{where}: no {field!r}; every row needs 'path' and 'label', and may have 'split'")
    split = row.get("split") or None
    if split is not None and split not in SPLITS:
        raise ValueError(f"{where}: split {split!r} is not known; use one of {', '.join(SPLITS)}")
    path = os.path.join(root, Path(str(row["path"])))
    if not os.path.isfile(path):
        raise ValueError(f"{where}: there is no file {path}")
    if not path.lower().endswith(SUFFIXES):
        raise ValueError(f"{where}: {path} is not one of {', '.join(SUFFIXES)}")
    return Labelled(path=path, label=str(row["label"]), split=split)
