"""One's own sounds, in folders named after their classes or listed in a table."""

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from omniformer.core.ranges import BelowOne
from omniformer.data.folders import SOUNDS, Labelled, MediaFolder
from omniformer.data.source import SPLITS, existing_file
from omniformer.data.table.delimited import DelimitedRows
from omniformer.data.table.json_lines import JsonRows
from omniformer.data.table.rows import BadRowError


class AudioFolder(MediaFolder):
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
            row.
    """

    modalities = ("audio",)
    suffixes = SOUNDS

    def __init__(
        self,
        *,
        root: str,
        manifest: str | None = None,
        data_root: str | None = None,
        val: BelowOne = 0.1,
        test: BelowOne = 0.1,
    ) -> None:
        super().__init__(root=root, data_root=data_root, val=val, test=test)
        self.manifest = None if manifest is None else existing_file(manifest, self.root)

    @cached_property
    def _files(self) -> list[Labelled]:
        if self.manifest is None:
            return super()._files
        files = list(self._listed(self.manifest))
        if not files:
            raise ValueError(f"{self.manifest} lists no files")
        if len({file.split is None for file in files}) > 1:
            raise ValueError(f"{self.manifest} gives a split for some files only; give one for all of them or for none")
        return files

    def _listed(self, manifest: Path) -> Iterator[Labelled]:
        """The files of a manifest, without those of broken rows where these are passed over."""
        rows = (DelimitedRows if manifest.suffix.lower() in (".csv", ".tsv") else JsonRows)(manifest)
        for error in rows.wrong:
            self.pass_over(error)
        for index, row in enumerate(rows.each(rows.columns)):
            try:
                if isinstance(row, BadRowError):
                    raise row
                yield _labelled(row, rows.where(index), self.root)
            except ValueError as error:
                self.pass_over(error)


def _labelled(row: Mapping[str, Any], where: str, root: Path) -> Labelled:
    fields = {name: value.strip() if isinstance(value, str) else value for name, value in row.items()}
    for field in ("path", "label"):
        if fields.get(field) in (None, ""):
            raise ValueError(f"{where}: no {field!r}; every row needs 'path' and 'label', and may have 'split'")
    split = fields.get("split") or None
    if split is not None and split not in SPLITS:
        raise ValueError(f"{where}: split {split!r} is not known; use one of {', '.join(SPLITS)}")
    path = os.path.join(root, Path(str(fields["path"])))
    if not os.path.isfile(path):
        raise ValueError(f"{where}: there is no file {path}")
    if not path.lower().endswith(SOUNDS):
        raise ValueError(f"{where}: {path} is not one of {', '.join(SOUNDS)}")
    return Labelled(path=path, label=str(fields["label"]), split=split)
