"""The reader of each format."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from omniformer.data.finding import matching_files
from omniformer.data.source import Split, own
from omniformer.data.splitting import names_apart
from omniformer.data.table.class_folders import FolderRows
from omniformer.data.table.columnar import MappedRows, ParquetRows
from omniformer.data.table.delimited import DelimitedRows
from omniformer.data.table.hub import PREFIX, hub_rows
from omniformer.data.table.json_lines import JsonRows
from omniformer.data.table.rows import Joined, Rows
from omniformer.data.table.shards import ShardRows

_TEXTS = (".csv", ".tsv")
_READERS: dict[str, Callable[[Path], Rows]] = {
    ".jsonl": JsonRows,
    ".ndjson": JsonRows,
    ".jsonl.gz": JsonRows,
    ".ndjson.gz": JsonRows,
    ".parquet": ParquetRows,
    ".arrow": MappedRows,
    ".feather": MappedRows,
    ".tar": ShardRows,
}
SUFFIXES = (*_TEXTS, *(f"{suffix}.gz" for suffix in _TEXTS), *_READERS)


class Opener:
    """Opens the files of a table.

    Args:
        data_root: where data lies on this machine.
        delimiter: of CSV, see `DelimitedRows`.
        quotes: of CSV.
        names: of the columns of CSV without a first line of names.
        config: of a set of the hub.
        download: whether a set of the hub may be fetched.
    """

    def __init__(
        self,
        *,
        data_root: str | None,
        delimiter: str | None,
        quotes: bool | None,
        names: list[str] | None,
        config: str | None,
        download: bool,
    ) -> None:
        self.data_root, self.config, self.download = data_root, config, download
        self.delimiter, self.quotes, self.names = delimiter, quotes, names

    def open(self, files: Mapping[Split | None, str | Sequence[str]]) -> tuple[Joined, list[Split | None]]:
        """All rows, and the split that each file gives.

        Args:
            files: paths, patterns, folders of class folders or `hf:` names, by split; None says nothing of it.

        Raises:
            FileNotFoundError: a path or pattern matches no file.
            ValueError: a file cannot be read; names it.
        """
        parts: list[tuple[Split | None, Rows]] = []
        for split, patterns in files.items():
            for each in [patterns] if isinstance(patterns, str) else patterns:
                parts += self._hub(each, split) if each.startswith(PREFIX) else self._files(each, split)
        paths = [part.file for _, part in parts if isinstance(part.file, Path)]
        apart = dict(zip(paths, names_apart(paths), strict=True))
        for _, part in parts:
            part.name = apart[part.file] if isinstance(part.file, Path) else part.name
        shown = str(parts[0][1].file) + (f" and {len(parts) - 1} more" if len(parts) > 1 else "")
        rows = Joined([part for _, part in parts], shown)
        if not len(rows):
            raise ValueError(f"{shown}: there are no rows")
        return rows, [split for split, _ in parts]

    def _hub(self, name: str, split: Split | None) -> list[tuple[Split | None, Rows]]:
        found = hub_rows(name.removeprefix(PREFIX), config=self.config, download=self.download)
        if split is not None and found.keys() - {None, split}:
            raise ValueError(f"{name} has splits of its own, {', '.join(map(str, found))}; give it as files")
        return [
            (split if own is None else own, part)
            for own, rows in found.items()
            for part in (rows.parts if isinstance(rows, Joined) else [rows])
        ]

    def _files(self, pattern: str, split: Split | None) -> list[tuple[Split | None, Rows]]:
        if (folder := own(pattern, self.data_root)).is_dir():
            return [(split, FolderRows(folder))]
        return [(split, self._rows(path)) for path in matching_files(pattern, self.data_root, SUFFIXES)]

    def _rows(self, path: Path) -> Rows:
        name = path.name.lower()
        if name.removesuffix(".gz").endswith(_TEXTS):
            return DelimitedRows(path, delimiter=self.delimiter, quotes=self.quotes, names=self.names)
        return next(reader for suffix, reader in _READERS.items() if name.endswith(suffix))(path)
