"""Any table as a data set: a row is a sample, and its columns say what they are for."""

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from lightning.pytorch.utilities import rank_zero_info

from omniformer.core.ranges import Count, Natural, Share
from omniformer.data.sets.on_access import OnAccess
from omniformer.data.source import SPLITS, Raw, Source, Split, existing_folder, set_name
from omniformer.data.table.conditions import NTH, OUT, PART, ROW, Conditions
from omniformer.data.table.index import Index
from omniformer.data.table.opening import Opener
from omniformer.data.table.places import Places
from omniformer.data.table.reading import RowReader
from omniformer.data.table.roles import Roles, cell, top
from omniformer.data.table.rows import BadRowError, Joined, Row, Rows
from omniformer.data.table.scan import Looked, Scan
from omniformer.data.table.splits import check_shares
from omniformer.data.table.trivial import of_classes, of_questions, of_values

_SHOWN = 10
_OTHERS = "..."  # among names of classes: all others


class Table(Source):
    r"""A table as a data set: CSV, TSV, JSON lines, Parquet, Arrow, tar shards, or a set of the library `datasets`.

    All rows are looked at once before anything is learned: cells of a wrong kind, missing files and unknown classes are
    told together, each with its file, row and column. Pictures and sounds are not decoded then. An empty cell is a
    missing modality or a target without an answer; rows without a class or without what is to be written are left out,
    which a warning counts.

    Rows are split by their column `split`, by files (`train`, `val`, `test`), or by the hash of what they hold or of
    their `id`; never by where the table lies, or in which order its rows stand. Rows of the same content, and of the
    same `group`, are in one split. Where there is a `label`, each class is divided alike. Or `splits` says what rows of
    a split hold.

    Args:
        columns: what the columns are for, by name: `{photo: vision, caption: answer.text}`; one may be for two things,
            `label and answer.text`. Nested ones have a dot, `answers.text`. The order is that in which a model reads
            several modalities.
        files: paths or patterns of the table, `.csv`, `.tsv`, `.jsonl`, `.ndjson`, also with `.gz`, `.parquet`,
            `.arrow`, `.feather`, or `.tar` in the manner of webdataset; `hf:<folder or name>` for `datasets`; a folder
            of class folders, with the columns `file` (or `text`, of texts), `class` and, where it has split folders,
            `split`. By name alone also a list in `.json` (`a.json::train`), arrays (`.npz`, of which `a.npz::train_*`
            are some; IDX), files in a `.zip` (`a.zip::*.wav`), lines of any file (`lines:a.en.gz`), a whole text
            (`text:a.txt`, of which `::..0.9` is the beginning), binary records (`records:a.bin`). Of `a | b` the first
            that is there is read; of `a + b` the rows stand side by side, of `a + b by item` each row of `a` beside the
            one of `b` that its cell `item` names. Relative ones are looked for where one stands, then under
            `data_root`.
        train: the same, of training alone, in the place of `files`.
        val: of validation; None takes a share of training.
        test: of test; None takes a share of what `files` hold, and nothing where `train` is given with `val`.
        data_root: where data lies on this machine; None means the current folder alone.
        root: where the files that cells name are looked for, after the folder of the table and before `data_root`.
        labels: names of the classes in order, or by what cells say, `{neg: against, pos: in favour}`; `...` stands for
            all others. None takes those of the training rows, by name.
        shares: of train, validation and test, where rows are split by hash. The second is taken from training where
            nothing says what validates; 0 leaves it so.
        folds: so many folds in the place of shares; of the column `split` whole numbers are folds anyway.
        fold: the fold that tests, from 0; the next one validates.
        splits: of a split, or `out` for rows that are left out, what its rows hold: `{test: row % 10 == 0, val: take <
            5}`, where `row` is the number of the row in its file, from 0, `nth` that among the rows of its class there,
            `part` what stands behind `::`, and `split` the split of its file, unless columns are called so. The first
            that holds counts; what holds none is in the split of its file, or trains.
        together: whether rows of a `group`, or of one content, all follow the first of them, whatever `splits`, files
            or a column say of the others.
        ids: how rows are called, of `{split}`, `{row}`, `{nth}`, `{part}`, `{label}` (the name of the class) and any
            column; None calls them by file and row.
        join: what stands between texts of several columns; None leaves two as a pair, which tokenizers of published
            models read.
        separator: what stands between the classes of a cell with several (`labels`).
        delimiter: what stands between the cells of CSV; None finds out.
        quotes: whether double quotes hold cells together; None says yes for CSV, no for TSV.
        names: of the columns of CSV, where its first line holds none.
        config: which configuration of a set of the hub, where there are several.
        pattern: a regular expression whose named groups, found in the names of files in a `.zip` or of `lines:`, are
            columns: `(?P<digit>[0-9])_(?P<speaker>[a-z]+)`.
        record: of `records:`, the type and shape of each field as numpy writes them, `{label: u1, content:
            "(3,32,32)u1"}`.
        fetch: of files that may be fetched, the address, and after a blank the SHA-256 that the file must have.
        max_train: take only the first so many rows of training, for joint runs with smaller sets; None takes all.
        outside: whether cells may name files outside of the table's folder, `root` and `data_root`: for tables of one's
            own alone.
        download: whether addresses in cells, sets of the hub, and files of `fetch` may be fetched.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a role that does not exist, a column that is not there, a file or rows that cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lines = ["review,mood", *(f"film {i},{'good' if i % 2 else 'bad'}" for i in range(40))]
        ...     _ = (file := Path(folder) / "reviews.csv").write_text("\n".join(lines))
        ...     table = Table(files=str(file), columns={"review": "text", "mood": "label"})
        ...     [len(table.split(name)) for name in ("train", "val", "test")], table.labels
        ([32, 4, 4], ('bad', 'good'))
    """

    def __init__(
        self,
        *,
        columns: dict[str, str] | None,
        files: str | list[str] | None = None,
        train: str | list[str] | None = None,
        val: str | list[str] | None = None,
        test: str | list[str] | None = None,
        data_root: str | None = None,
        root: str | None = None,
        labels: list[str] | dict[str, str] | None = None,
        shares: tuple[Share, Share, Share] = (0.8, 0.1, 0.1),
        folds: Annotated[int, Ge(3)] | None = None,
        fold: Natural = 0,
        splits: dict[str, str] | None = None,
        together: bool = False,
        ids: str | None = None,
        join: str | None = None,
        separator: str = ";",
        delimiter: str | None = None,
        quotes: bool | None = None,
        names: list[str] | None = None,
        config: str | None = None,
        pattern: str | None = None,
        record: dict[str, str] | None = None,
        fetch: dict[str, str] | None = None,
        max_train: Count | None = None,
        outside: bool = False,
        download: bool = False,
    ) -> None:
        self._settings = {name: each for name, each in locals().items() if name not in ("self", "__class__")}
        if (files is None) == (train is None):
            raise ValueError("give either files, which are split, or train, the files of training alone")
        if files is not None and (val is not None or test is not None):
            raise ValueError("files are split; for files of validation or test give those of training as train")
        check_shares(shares, folds, fold)
        if max_train is not None and max_train < 1:
            raise ValueError(f"max_train={max_train} must be at least 1, or null for all rows of training")
        self.roles = Roles.of(columns or {})
        self.modalities = tuple(dict.fromkeys([*self.roles.given, *self.roles.answers]))
        self.files = _given(files, train, val, test)
        self.words = {str(cell): str(name) for cell, name in labels.items()} if isinstance(labels, dict) else {}
        self.class_names = None if labels is None else tuple(dict.fromkeys(map(str, self.words.values() or labels)))
        self.shares, self.folds, self.fold = tuple(shares), folds, fold
        self.conditions = None if splits is None else Conditions.of(splits)
        self.together, self.ids, self.max_train = together, ids, max_train
        self.join, self.separator = join, separator
        self.opener = Opener(
            data_root=data_root,
            delimiter=delimiter,
            quotes=quotes,
            names=names,
            config=config,
            pattern=pattern,
            fetch=fetch,
            record=record,
            download=download,
        )
        folders = [] if root is None else [existing_folder(root, data_root)]
        folders += [] if data_root is None else [Path(data_root).expanduser()]
        self.places = Places(folders, outside=outside, download=download)

    @property
    def name(self) -> str:
        """The name of the data set, for messages: what its samples are called by, where that is said."""
        return set_name(self.ids) or super().name

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes or questions, in the order of the targets."""
        if len(columns := self.roles.targets.get("labels", ())) > 1:
            return columns
        return self.class_names if self.class_names and _OTHERS not in self.class_names else self._looked.classes

    @property
    def facts(self) -> Mapping[str, Any]:
        """The number of classes, and what graphs that are written in the table have at their nodes and edges."""
        return {**super().facts, **self._looked.graphs, **self._rows.facts()}

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in the order of the table."""
        return OnAccess(len(self._splits[name]), partial(self._raw, name))

    def kin(self, name: Split) -> Sequence[Sequence[str]]:
        """What each row of a split holds, and its group."""
        seen, grouped = self._looked.kept, self.roles.one("group") is not None
        return [(seen.content(i), seen.key(i)) if grouped else (seen.content(i),) for i in self._splits[name]]

    def baselines(self) -> Mapping[str, float]:
        """What the most frequent class of training, or the mean of its numbers, scores on the test split; of questions
        that come again, what their most frequent class does.
        """
        seen, train, test = self._looked.kept, self._splits["train"], self._splits["test"]
        if not len(test):
            return {}
        if "label" in self.roles.targets:
            known, asked = seen.first_names(train), seen.first_names(test)
            several = "text" in self.roles.given and len(self.roles.given) > 1
            alone = of_questions(self._texts(train), known, self._texts(test), asked) if several else {}
            return {**of_classes(known, asked), **alone}
        if "value" in self.roles.targets:
            return of_values(seen.values(train), seen.values(test))
        return {}

    def _texts(self, places: np.ndarray) -> list[str]:
        """What the texts of some rows say."""
        names = self.roles.given["text"]
        tops = [outer for name in names if (outer := top(name, self._rows.columns)) is not None]
        wanted = {*np.asarray(self._looked.kept.index)[places].tolist()}
        rows = (row for i, row in enumerate(self._rows.each(tops)) if i in wanted)
        return [str([cell(row, name) for name in names]) for row in rows if not isinstance(row, BadRowError)]

    def _raw(self, name: Split, number: int) -> Raw:
        """The raw sample of a row of a split."""
        place = int(self._splits[name][number])
        part, inner = self._rows.part(self._looked.kept.index[place])
        row = part.row(inner)
        sample = self._reader.read(row, part.folder)
        return self._reader.raw(row, sample, id=self._id(place, row), labels=self.labels, classes=self._looked.classes)

    def _id(self, place: int, row: Row) -> str:
        """How a row is called, by its place among those that are kept."""
        seen = self._looked.kept
        part, inner = self._rows.part(seen.index[place])
        if self.ids is not None:
            own = {"split": seen.split(place), ROW: inner, PART: part.inner, "label": "".join(seen.names(place)[:1])}
            own |= {NTH: int(self._nth[place])} if NTH in self.ids else {}
            return self.ids.format_map({**row, **own})
        column = self.roles.name_of_rows(part.columns)
        return f"{part.name}, {part.place(inner)}" if column is None else str(cell(row, column))

    @cached_property
    def _nth(self) -> np.ndarray:
        """Of each row that is kept, its number among those of its class in its file."""
        seen = self._looked.kept
        return seen.nth(np.searchsorted(self._rows.ends, np.asarray(seen.index), side="right"))

    @cached_property
    def _opened(self) -> tuple[Joined, list[Split | None]]:
        rows, given = self.opener.open(self.files)
        for slow in [each for part in rows.parts for each in part.slow] if self.window is None else ():
            warnings.warn(slow, stacklevel=2)
        rows.parts = [self.completed(part) for part in rows.parts]
        self.roles.check(rows.columns, rows.file)
        if nameless := [part for part in rows.parts if not self.roles.name_of_rows(part.columns)]:
            self._tell_nameless(nameless)
        return rows, given

    def _tell_nameless(self, parts: Sequence[Rows]) -> None:
        if name := self.roles.one("id"):
            files = ", ".join(str(part.file) for part in parts[:_SHOWN]) + (", ..." if len(parts) > _SHOWN else "")
            rank_zero_info(f"{files}: no column {name!r}, which names rows; they are called by file and place")

    def completed(self, rows: Rows) -> Rows:
        """The rows of one file, beside which a subclass may put columns that it computes (`Computed`)."""
        return rows

    @property
    def _rows(self) -> Joined:
        return self._opened[0]

    @cached_property
    def _reader(self) -> RowReader:
        names = {name: found for name in self.roles.names() if (found := self._rows.class_names(name))}
        return RowReader(
            self.roles, self.places, join=self.join, separator=self.separator, names=names, words=self.words
        )

    @cached_property
    def _looked(self) -> Looked:
        """What one look at all rows found, or that of an earlier run at the same rows."""
        rows, _ = self._opened
        index = Index(f"rows of {rows.file}", rows.read_from(), self._settings)
        found = index.load(of=Looked.NAMES)
        looked = self._look() if found is None else Looked.from_told(found)
        self._refuse(looked.problems)
        if found is None and not self.places.asked:  # whether files that cells name are there, each run sees anew
            index.save(looked.told())
        self._tell(looked)
        return looked

    def _look(self) -> Looked:
        """All rows, looked at and divided, and the classes that they name."""
        rows, given = self._opened
        scan = Scan(rows, given, self.roles, self._reader, self.fold, self.conditions).run()
        scan.problems += map(str, rows.wrong)
        scan.divide(self.shares, self.folds)
        if self.together:
            scan.follow()
        classes = self._classes(scan)
        scan.refuse_unknown(classes)
        return Looked(scan.kept, classes, scan.graphs.told(), scan.problems, dict(scan.missing), dict(scan.left_out))

    def _classes(self, scan: Scan) -> tuple[str, ...]:
        """The classes in order: as the user says, the format, or training."""
        named = self.class_names or self._named_by_format() or (_OTHERS,)
        if _OTHERS not in named:
            return named
        place = named.index(_OTHERS)
        others = [name for name in scan.trained() if name not in named]
        return (*named[:place], *others, *named[place + 1 :])

    def _named_by_format(self) -> tuple[str, ...]:
        columns = [name for role in ("label", "labels", "token_labels") for name in self.roles.targets.get(role, ())]
        return self._rows.class_names(columns[0]) if len(columns) == 1 else ()

    @cached_property
    def _splits(self) -> dict[Split, np.ndarray]:
        found: dict[Split, np.ndarray] = {name: self._looked.kept.of(name) for name in SPLITS}
        if not len(found["train"]):
            raise ValueError(f"{self._rows.file}: no row is left for training, of {len(self._rows)}")
        if (most := self.max_train) is not None:
            if most > (n := len(found["train"])):
                raise ValueError(
                    f"{self._rows.file}: max_train={most}, and {n} rows are for training; give {n} at most"
                )
            rank_zero_info(f"{self._rows.file}: the first {most} of {n} rows of training are taken, as max_train says")
            found["train"] = found["train"][:most]
        return found

    def _refuse(self, problems: Sequence[str]) -> None:
        """Tells what is wrong, all at once; where rows may be passed over, they are noted."""
        if not problems:
            return
        if self.on_error == "skip":
            self.broken += tuple(problems)
            return
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise ValueError(
            f"{len(problems)} problem(s) in {self._rows.file}: {'; '.join(problems[:_SHOWN])}{more}; repair them, or "
            "pass over such rows with data.on_error=skip"
        )

    def _tell(self, looked: Looked) -> None:
        """Says once what became of the rows."""
        counted = ", ".join(f"{len(looked.kept.of(name))} {name}" for name in SPLITS)
        counted += f"; {n} left out, as splits says" if (n := looked.left_out.get(OUT)) else ""
        missing = "".join(f"; {n} without {what}" for what, n in looked.missing.items())
        repeats = f"; {n} repeat the content of another row" if (n := looked.kept.repeats()) else ""
        rank_zero_info(f"{self._rows.file}: {len(self._rows)} rows: {counted}{missing}{repeats}")
        told = [f"{n} row(s) without {what} are left out" for what, n in looked.left_out.items() if what != OUT]
        told += [f"{n} row(s) of {name} hold what a row of training holds" for name, n in looked.kept.leaks().items()]
        if told:
            warnings.warn(f"{self._rows.file}: {'; '.join(told)}", stacklevel=4)


def _given(files: Any, train: Any, val: Any, test: Any) -> dict[Split | None, str | list[str]]:
    """The files by the split that they give; training alone is divided as `files` are."""
    if files is not None or (val is None and test is None):
        return {None: files if files is not None else train}
    named: dict[Split | None, Any] = {"train": train, "val": val, "test": test}
    return {name: each for name, each in named.items() if each is not None}
