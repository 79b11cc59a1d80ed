"""Folders named after classes as a table: a file is a row."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from omniformer_tokenizers.files import files_below, read_text

from omniformer.data.folders import PICTURES, SOUNDS, labelled_files
from omniformer.data.table.places import leads_within
from omniformer.data.table.rows import BadRowError, FileRows, Row

TEXTS = (".txt", ".text", ".md")
_KINDS = (PICTURES, SOUNDS, TEXTS)


class FolderRows(FileRows):
    """Pictures, sounds or texts as `<class>/1.png`, or `train/<class>/1.png` where the split is given.

    The columns are `file`, the path from the folder on, or `text`, what the file holds; `class`; and `split` where
    there is one. Of several kinds of files the most frequent one counts; a warning names the others.

    Args:
        folder: which holds the folders of the classes.

    Raises:
        ValueError: it holds no such files, or some that lie in no class folder; names the first.
    """

    def __init__(self, folder: Path) -> None:
        self.file, self.name, self.root = folder, str(folder), folder
        self.below = len(os.path.join(folder, ""))  # where the path from the folder on begins
        seen = Counter(os.path.splitext(name)[1].lower() for name in files_below(folder))
        suffixes = max(_KINDS, key=lambda kind: sum(seen[suffix] for suffix in kind))
        self.files = labelled_files(folder, suffixes)
        self.content = "text" if suffixes is TEXTS else "file"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.content, "class", *(["split"] if self.files[0].split else []))

    def __len__(self) -> int:
        return len(self.files)

    def place(self, index: int) -> str:
        return self.files[index].path[self.below :].replace(os.sep, "/")

    @property
    def folder(self) -> Path:
        return self.root

    def _row(self, index: int, columns: Sequence[str]) -> Row:
        file = self.files[index]
        found = {"class": file.label, "split": file.split, "file": self.place(index)}
        if "text" in columns:
            found["text"] = self._text(file.path)
        return {name: found[name] for name in columns}

    def _text(self, path: str) -> str:
        if not leads_within(path, self.folder):
            raise BadRowError(f"{path}: is a link that leads out of {self.folder}; put the file itself there")
        try:
            return read_text(path)
        except (OSError, ValueError) as error:
            raise BadRowError(f"{path}: {error}") from error
