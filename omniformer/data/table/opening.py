"""The reader of each format."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from omniformer.data.table.idx import ENDS, read_idx
from omniformer.data.table.json_lines import JsonRows
from omniformer.data.table.json_lists import ListRows
from omniformer.data.table.lines import LineRows
from omniformer.data.table.looked_up import LookedUp
from omniformer.data.table.molecules import MoleculeRows
from omniformer.data.table.npz import ArrayRows
from omniformer.data.table.records import read_records
from omniformer.data.table.rows import Joined, Rows
from omniformer.data.table.shards import ShardRows
from omniformer.data.table.texts import TextRows

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
_NAMED = (".json", ".zip", ".npz", *ENDS)  # not every file of these is a table: no pattern finds them
MOLECULES = "molecules:"
PREFIXES = ("lines:", "text:", "list:", "graphs:", "conll:", "records:", MOLECULES)


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
        record: what each record of a file of `records:` holds, see `read_records`.
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
        record: Mapping[str, str] | None = None,
    ) -> None:
        self.data_root, self.config, self.download = data_root, config, download
        self.delimiter, self.quotes, self.names = delimiter, quotes, names
        self.pattern, self.fetch, self.record = pattern, fetch or {}, record

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
        if own(pattern, self.data_root).is_file():
            return [(split, each) for each in self._piece([Choice("", pattern, None)], [])]
        if not any(sign in pattern for sign in ("::", " + ", "|")):
            return [(split, each) for each in self._piece(Choice.of(pattern), [])]
        files: list[Rows] = []
        for piece in pattern.split(" + "):
            file, _, column = piece.strip().partition(" by ")
            found = self._piece(Choice.of(file), files)
            if len(found) != 1:
                raise ValueError(f"{file!r} names {len(found)} files; files with '::' or ' + ' are named one by one")
            if column and not files:
                raise ValueError(f"{piece!r} stands beside no table; write 'table.csv + {piece}'")
            files += [LookedUp(files[0], found[0], column.strip())] if column else found
        return [(split, files[0] if len(files) == 1 else Beside(files))]

    def _piece(self, choices: Sequence["Choice"], before: list[Rows]) -> list[Rows]:
        """What one name stands for, or the first of several that is there.

        Args:
            choices: the names.
            before: the files on whose right it stands.
        """
        prefix, name, inner = choices[0].prefix, choices[0].name, choices[0].inner
        if prefix == MOLECULES:
            if not before:
                written = f"{prefix}{name}"
                raise ValueError(f"{written!r} stands beside no table of SMILES; write 'table.csv + {written}'")
            return [_called(MoleculeRows(before[-1], own(name, self.data_root), inner or ""), inner)]
        named = prefix or len(choices) > 1 or name in self.fetch or name.lower().removesuffix(".gz").endswith(_NAMED)
        if named:
            chosen, path = self._there(choices)
            return [_called(self.rows(path, chosen.inner, prefix=chosen.prefix), chosen.inner)]
        if (folder := own(name, self.data_root)).is_dir():
            return [FolderRows(folder)]
        return [_called(self.rows(path), inner) for path in matching_files(name, self.data_root, SUFFIXES)]

    def _there(self, choices: Sequence["Choice"]) -> tuple["Choice", Path]:
        """The first of several files that is there as it is or packed (`.gz`); the last may be fetched."""
        for choice in choices:
            known = () if choice.name in self.fetch else (choice.name,)  # one with a hash is compared with it, below
            found = [path for each in (*known, f"{choice.name}.gz") if (path := own(each, self.data_root)).is_file()]
            if found:
                return choice, found[0]
        last = choices[-1]
        name = last.name if last.name in self.fetch else f"{last.name}.gz"
        if name not in self.fetch:
            shown = " | ".join(each.name for each in choices)
            raise FileNotFoundError(f"no file {shown!r} here, nor {str(resolve(last.name, self.data_root))!r}")
        url, _, sha256 = self.fetch[name].partition(" ")
        try:
            return last, obtain(name, data_root=self.data_root, url=url, sha256=sha256 or None, download=self.download)
        except FileNotFoundError as error:
            others = [each.name for each in choices[:-1]] + ([] if name.endswith(".gz") else [f"{name}.gz"])
            raise FileNotFoundError(f"{error}; read are also {', '.join(others)}" if others else str(error)) from None

    def rows(self, path: Path, inner: str | None = None, *, prefix: str = "") -> Rows:
        """The rows of one file, by what it is said to be, or else by its suffix.

        Args:
            path: the file.
            inner: what is taken of it.
            prefix: what it is said to be.
        """
        if prefix:
            return self._said[prefix](path, inner)
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
            return ArrayRows(path, inner)
        if name.removesuffix(".gz").endswith(ENDS):
            return ArrayRows(path, arrays={"content": read_idx(path)})
        return next(reader for suffix, reader in _READERS.items() if name.endswith(suffix))(path)

    @property
    def _said(self) -> Mapping[str, Callable[[Path, str | None], Rows]]:
        """The reader of each prefix."""
        return {
            "lines:": lambda path, inner: LineRows(path, inner, self.pattern),
            "text:": TextRows,
            "list:": lambda path, inner: ListRows(path, inner, self.names),
            "graphs:": lambda path, inner: GraphLineRows(path),
            "conll:": lambda path, inner: ConllRows(path, self.names),
            "records:": lambda path, inner: ArrayRows(path, arrays=read_records(path, inner, self.record)),
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the files that a name stands for.

    Args:
        prefix: what it is said to be, `lines:`; empty where its suffix tells.
        name: its path or pattern.
        inner: what is taken of it; None for all.
    """

    prefix: str
    name: str
    inner: str | None

    @classmethod
    def of(cls, written: str) -> "list[Choice]":
        """Reads `a | b`, in which a prefix holds for all behind it that have none, and `::` for all before it.

        Example:
            >>> [(each.name, each.inner) for each in Choice.of("a.zip | b.zip::*.wav")]
            [('a.zip', '*.wav'), ('b.zip', '*.wav')]
        """
        found: list[Choice] = []
        for each in written.split("|"):
            rest = each.strip()
            prefix = next((prefix for prefix in PREFIXES if rest.startswith(prefix)), "")
            name, _, inner = rest.removeprefix(prefix).partition("::")
            found.append(cls(prefix or (found[-1].prefix if found else ""), name, inner or None))
        last = found[-1].inner
        return [each if each.inner is not None else replace(each, inner=last) for each in found]


def _called(rows: Rows, inner: str | None) -> Rows:
    """The rows, which know what was taken of their file."""
    rows.inner = inner or ""
    return rows
