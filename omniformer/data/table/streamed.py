"""A table that nobody looks through before: its rows are samples one after the other, an epoch is so many of them."""

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.utils.data import get_worker_info

from omniformer.core.ranges import Count
from omniformer.data.finding import matching_files
from omniformer.data.passing import Ahead
from omniformer.data.source import Raw, Source, Split, existing_folder
from omniformer.data.table.hub import PREFIX
from omniformer.data.table.opening import SUFFIXES, Opener
from omniformer.data.table.places import Places
from omniformer.data.table.reading import RowReader
from omniformer.data.table.roles import Roles, cell
from omniformer.data.table.row_streams import RowStream, ShardStream, hub_stream
from omniformer.data.table.rows import Row, Rows

_SHOWN = 8  # lines that are no rows
_NEEDLESS = ("split", "group")  # roles of columns by which rows are divided


class StreamedTable(Source):
    r"""Training rows from shards, or from a set that the library `datasets` streams, without a look at all of them.

    The first step comes in seconds, whatever there is. Training goes through the rows in their order, shuffled within
    windows (`data.window`), and begins anew behind the last; an epoch is `samples_per_epoch` of them, or
    `steps_per_epoch` steps. Nothing is known of rows before they are read: see `Stream` for what that rules out.

    Args:
        columns: what the columns are for, as for `Table`; none may divide rows (`split`, `group`).
        train: paths or patterns of shards (`.tar`, `.parquet`, `.arrow`, `.jsonl`, `.csv` and their kin), read in the
            order of their names; or one `hf:<name or folder of data files>`, streamed.
        samples_per_epoch: how many rows an epoch passes.
        val: the same of validation; None takes that of the `hf:` set, or none.
        test: of test.
        evaluated: of validation and of test the first so many rows are read into memory; a line counts them.
        labels: names of the classes in order; None takes those that the format names.
        data_root: where data lies on this machine; None means the current folder alone.
        root: where the files that cells name are looked for, after the folder of the shard and before `data_root`.
        join: what stands between texts of several columns; None leaves two as a pair.
        separator: what stands between the classes of a cell with several (`labels`).
        config: which configuration of a set of the hub, where there are several.
        outside: whether cells may name files outside of these folders: for tables of one's own alone.
        download: whether addresses in cells and sets of the hub may be fetched.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a role that does not exist or that divides rows, a column that is not there, classes that are not
            named, a file that cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for shard in "ab":
        ...         rows = "".join(f"{shard}{i},x\n" for i in range(3))
        ...         _ = (Path(folder) / f"{shard}.csv").write_text("word,kind\n" + rows)
        ...     table = StreamedTable(
        ...         train=f"{folder}/*.csv", columns={"word": "text", "kind": "label"},
        ...         samples_per_epoch=4, labels=["x"]
        ...     )
        ...     [raw.contents["text"] for raw in table.split("train")]
        ['a0', 'a1', 'a2', 'b0']
    """

    def __init__(
        self,
        *,
        columns: dict[str, str] | None,
        train: str | list[str] | None,
        samples_per_epoch: Count,
        val: str | list[str] | None = None,
        test: str | list[str] | None = None,
        evaluated: Count = 10_000,
        labels: list[str] | None = None,
        data_root: str | None = None,
        root: str | None = None,
        join: str | None = None,
        separator: str = ";",
        config: str | None = None,
        outside: bool = False,
        download: bool = False,
    ) -> None:
        if train is None:
            raise ValueError("train names no shards; give paths or patterns, or hf:<name>, as data.source.train")
        for name, value in (("samples_per_epoch", samples_per_epoch), ("evaluated", evaluated)):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        self.roles = Roles.of(columns or {})
        if dividing := [role for role in _NEEDLESS if self.roles.one(role)]:
            raise ValueError(
                f"a column has the role {dividing[0]!r}, by which rows are divided, and rows of a stream are not known "
                "before they are read; give val and test files of their own, or read the table with data=table"
            )
        self.modalities = tuple(dict.fromkeys([*self.roles.given, *self.roles.answers]))
        self.passes = self.samples_per_epoch = samples_per_epoch
        self.files: dict[Split, str | list[str] | None] = {"train": train, "val": val, "test": test}
        self.evaluated, self.class_names = evaluated, None if labels is None else tuple(map(str, labels))
        self.data_root, self.join, self.separator = data_root, join, separator
        self.config, self.download = config, download
        folders = [] if root is None else [existing_folder(root, data_root)]
        folders += [] if data_root is None else [Path(data_root).expanduser()]
        self.places = Places(folders, outside=outside, download=download)
        self._told = set[Path]()  # shards of which was told what was passed over

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes or questions, in the order of the targets."""
        questions = self.roles.targets.get("labels", ())
        return questions if len(questions) > 1 else self._classes

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        """The classes in order, as the user or the format names them; none where no column has any."""
        of_role = [self.roles.targets.get(role, ()) for role in ("label", "labels", "token_labels")]
        names = [name for columns in of_role if len(columns) == 1 for name in columns]  # several are yes-no questions
        found = self.class_names or (self._train.class_names(names[0]) if names else ())
        if names and not found:
            raise ValueError(
                f"{self._train.name}: which classes {names[0]!r} holds is not known before all rows are read; name "
                "them in order, data.source.labels=[no,yes]"
            )
        return found

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split: of training those of the first epoch, and by number all that follow."""
        if name == "train":
            return Ahead(self.samples_per_epoch, partial(self._raw, self._train))
        return self._evaluations[name]

    @cached_property
    def _train(self) -> RowStream:
        if (stream := self._opened("train")) is None:
            raise ValueError(f"{self.files['train']} has no split for training")
        return stream

    @cached_property
    def _evaluations(self) -> dict[Split, list[Raw]]:
        return {name: self._first(name) for name in ("val", "test")}

    def _first(self, name: Split) -> list[Raw]:
        """The first rows of a split for evaluation, in memory; those that cannot be read are told or noted."""
        stream, found = self._opened(name), []
        if stream is None:
            return found
        first = stream.row(0)[1]
        for number in range(self.evaluated):
            try:
                row, where, folder = stream.row(number)
                if number and where == first:  # round again
                    break
                found.append(self._made(row, where, folder))
            except ValueError as error:
                self.pass_over(error)
        rank_zero_info(f"{stream.name}: the first {len(found)} rows are for {name}")
        return found

    def _opened(self, name: Split) -> RowStream | None:
        """The rows of a split; None where there is none."""
        stream = self._found(name)
        if stream is not None:
            self.roles.check(stream.columns, stream.name)
        return stream

    def _found(self, name: Split) -> RowStream | None:
        files = self.files[name]
        whole = files if files is not None else self.files["train"]
        if isinstance(whole, str) and whole.startswith(PREFIX):
            return hub_stream(
                whole.removeprefix(PREFIX),
                "train" if files is not None else name,
                config=self.config,
                download=self.download,
                window=self.window or 1,
            )
        if files is None:
            return None
        opener = Opener(
            data_root=self.data_root, delimiter=None, quotes=None, names=None, config=None, download=self.download
        )
        paths = matching_files(files, self.data_root, SUFFIXES)
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        return ShardStream(paths, partial(self._shard, opener), f"{paths[0]}{more}")

    def _shard(self, opener: Opener, path: Path) -> Rows:
        """The rows of a shard; of lines of it that are no rows is told when it is opened first."""
        rows, worker = opener.rows(path), get_worker_info()
        if rows.wrong and self.on_error != "skip":
            self.pass_over(rows.wrong[0])
        if rows.wrong and path not in self._told and (worker is None or worker.id == 0):
            self._told.add(path)
            shown = "; ".join(map(str, rows.wrong[:_SHOWN])) + ("; ..." if len(rows.wrong) > _SHOWN else "")
            rank_zero_warn(f"{len(rows.wrong)} lines of {path} are skipped, beside {len(rows)} rows: {shown}")
        return rows

    def _raw(self, stream: RowStream, number: int) -> Raw:
        return self._made(*stream.row(number))

    def _made(self, row: Row, where: str, folder: Path | None) -> Raw:
        """The sample of a row.

        Raises:
            ValueError: a cell cannot be read, or one without which nothing is learned from the row is empty.
        """
        sample = self._reader.read(row, folder)
        named = (sample.label, *(sample.tags or ()), *(sample.words or ()))
        if strange := [each for each in named if each is not None and each not in self._classes]:
            sample.problems.append(f"class {strange[0]!r} is not among {', '.join(self._classes[:20])}")
        if "label" in self.roles.targets and sample.label is None:
            sample.problems.append("it has no label")
        sample.problems += [f"it has no answer.{name}" for name in self.roles.answers if name not in sample.answer]
        if sample.problems:
            raise ValueError(f"{where}: {'; '.join(sample.problems)}")
        column = self.roles.one("id")
        called = None if column is None else cell(row, column)
        called = where if called is None else str(called)
        return self._reader.raw(row, sample, id=called, labels=self.labels, classes=self._classes)

    @cached_property
    def _reader(self) -> RowReader:
        names = {name: found for name in self.roles.names() if (found := self._train.class_names(name))}
        return RowReader(self.roles, self.places, join=self.join, separator=self.separator, names=names, words={})
