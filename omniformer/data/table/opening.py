"""The reader of each format."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from omniformer.data.download import obtain
from omniformer.data.finding import matching_files
from omniformer.data.source import Split, own, resolve
from omniformer.data.splitting import names_apart
from omniformer.data.table.archives import ZipRows
from omniformer.data.table.beside import Beside
from omniformer.data.table.class_folders import FolderRows
from omniformer.data.table.columnar import MappedRows, ParquetRows
from omniformer.data.table.conll import ConllRows
from omniformer.data.table.delimited import DelimitedRows
from omniformer.data.table.graph_lines import GraphLineRows
from omniformer.data.table.hub import PREFIX, hub_rows
from omniformer.data.table.json_lines import JsonRows
from omniformer.data.table.json_lists import ListRows
from omniformer.data.table.lines import LineRows
from omniformer.data.table.molecules import MoleculeRows
from omniformer.data.table.npz import ArrayRows
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
_WORDS = (".conll", ".conll.gz", ".bio", ".iob", ".iob2")
SUFFIXES = (*_TEXTS, *_WORDS, *(f"{suffix}.gz" for suffix in _TEXTS), *_READERS)
_NAMED = (".json", ".json.gz", ".zip", ".npz")  # not every file of these is a table: no pattern finds them
MOLECULES = "molecules:"
_LINES, _GRAPHS, _CONLL = "lines:", "graphs:", "conll:"


class Opener:
    """Opens the files of a table.

    Args:
        data_root: where data lies on this machine.
        delimiter: of CSV, see `DelimitedRows`.
        quotes: of CSV.
        names: of the columns of CSV without a first line of names.
        config: of a set of the hub.
        download: whether files and sets of the hub may be fetched.
        pattern: of the names of files, see `ZipRows` and `LineRows`.
        fetch: of files that may be fetched, the address, and after a blank the SHA-256 that they must have.
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
        pattern: str | None = None,
        fetch: Mapping[str, str] | None = None,
    ) -> None:
        self.data_root, self.config, self.download = data_root, config, download
        self.delimiter, self.quotes, self.names = delimiter, quotes, names
        self.pattern, self.fetch = pattern, fetch or {}

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
            inner = f"::{part.inner}" if part.inner else ""
            part.name = f"{apart[part.file]}{inner}" if isinstance(part.file, Path) else part.name
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
        if own(pattern, self.data_root).is_file() or not ("::" in pattern or " + " in pattern):
            return [(split, each) for each in self._piece(pattern, None, [])]
        files: list[Rows] = []
        for piece in pattern.split(" + "):
            file, _, inner = piece.strip().partition("::")
            found = self._piece(file, inner or None, files)
            if len(found) != 1:
                raise ValueError(f"{file!r} names {len(found)} files; files with '::' or ' + ' are named one by one")
            files += found
            files[-1].inner = inner
        return [(split, files[0] if len(files) == 1 else Beside(files))]

    def _piece(self, name: str, inner: str | None, before: list[Rows]) -> list[Rows]:
        """What one name stands for.

        Args:
            name: a path or pattern, with a prefix where its suffix does not tell how it is read.
            inner: what is taken of it, behind `::`.
            before: the files on whose right it stands.
        """
        if name.startswith(MOLECULES):
            if not before:
                raise ValueError(f"{name!r} stands beside no table of SMILES; write 'table.csv + {name}'")
            return [MoleculeRows(before[-1], own(name.removeprefix(MOLECULES), self.data_root), inner or "")]
        if name.startswith(_LINES):
            return [LineRows(self._place(name.removeprefix(_LINES)), inner, self.pattern)]
        if name.startswith(_GRAPHS):
            return [GraphLineRows(self._place(name.removeprefix(_GRAPHS)))]
        if name.startswith(_CONLL):
            return [ConllRows(self._place(name.removeprefix(_CONLL)), self.names)]
        if name in self.fetch or name.lower().endswith(_NAMED):
            return [self.rows(self._place(name), inner)]
        if (folder := own(name, self.data_root)).is_dir():
            return [FolderRows(folder)]
        return [self.rows(path, inner) for path in matching_files(name, self.data_root, SUFFIXES)]

    def _place(self, names: str) -> Path:
        """The first of several files, `a | b`, that is there as it is or packed (`.gz`); the last may be fetched."""
        choices = [name.strip() for name in names.split("|")]
        last = choices[-1]
        for name in choices:
            known = () if name in self.fetch else (name,)  # one with a hash is compared with it, below
            found = [path for each in (*known, f"{name}.gz") if (path := own(each, self.data_root)).is_file()]
            if found:
                return found[0]
        if last not in self.fetch:
            raise FileNotFoundError(f"no file {names!r} here, nor {str(resolve(last, self.data_root))!r}")
        url, _, sha256 = self.fetch[last].partition(" ")
        try:
            return obtain(last, data_root=self.data_root, url=url, sha256=sha256 or None, download=self.download)
        except FileNotFoundError as error:
            others = ", ".join([*choices[:-1], *([] if last.endswith(".gz") else [f"{last}.gz"])])
            raise FileNotFoundError(f"{error}; read are also {others}" if others else str(error)) from None

    def rows(self, path: Path, inner: str | None = None) -> Rows:
        """The rows of one file, by its suffix; `inner` is what is taken of it."""
        name = path.name.lower()
        if name.removesuffix(".gz").endswith(_TEXTS):
            return DelimitedRows(path, delimiter=self.delimiter, quotes=self.quotes, names=self.names)
        if name.endswith(_WORDS):
            return ConllRows(path, self.names)
        if name.endswith((".json", ".json.gz")):
            return ListRows(path, inner, self.names)
        if name.endswith(".zip"):
            return ZipRows(path, inner or "*", self.pattern)
        if name.endswith(".npz"):
            return ArrayRows(path)
        return next(reader for suffix, reader in _READERS.items() if name.endswith(suffix))(path)
