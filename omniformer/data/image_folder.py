"""One's own pictures, in folders named after their classes."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from omniformer.core.ranges import BelowOne
from omniformer.data.folders import Labelled, class_names, labelled_files, raws_by_split
from omniformer.data.source import Raw, Source, Split, existing_folder

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm")


class ImageFolder(Source):
    """Pictures as `<root>/<class>/*.png`, or `<root>/{train,val,test}/<class>/*.png` where the split is given.

    Files are decoded by the tokenizer, in the data workers. Without split folders, each class is split by the hashes
    of its file names. With them, a missing `val` or `test` stays empty.

    Args:
        root: the folder; a relative path is looked for where one stands, then under `data_root`.
        data_root: where data lies on this machine; None means the current folder alone.
        val: the share of validation, without split folders.
        test: the share of test, without split folders.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a picture lies in no class folder; names it.
    """

    modalities = ("vision",)

    def __init__(self, *, root: str, data_root: str | None = None, val: BelowOne = 0.1, test: BelowOne = 0.1) -> None:
        self.root: Path = existing_folder(root, data_root)
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
        return labelled_files(self.root, SUFFIXES)

    @cached_property
    def _splits(self) -> dict[Split, Sequence[Raw]]:
        return raws_by_split(self._files, self.labels, root=self.root, modality="vision", val=self.val, test=self.test)
