"""Rows of a table as what a model is given, without what is to be predicted of them."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omniformer.data.table.opening import MOLECULES, Opener
from omniformer.data.table.opening import SUFFIXES as SUFFIXES
from omniformer.data.table.places import Places
from omniformer.data.table.reading import RowReader
from omniformer.data.table.roles import CONTENTS, MESSAGES, Roles, cell, roles_in
from omniformer.data.table.rows import BadRowError

_READ = "valid"  # the column beside molecules that says which of them could be made
_GIVEN = (*CONTENTS, MESSAGES, "id")
# What a run was told of its table that holds of another one with the same columns.
_KEPT = ("join", "delimiter", "quotes", "names", "pattern")


class GivenRows:
    r"""The rows of a table by their names, each with its contents by modality, read one after the other.

    Args:
        file: as for `omniformer.data.Table`.
        columns: what they are for; those that are predicted or written need not be there.
        may_lack: which others need not be there either.
        join: what stands between texts of several columns.
        delimiter: of CSV.
        quotes: of CSV.
        names: of the columns of CSV without a first line of names.
        pattern: of names of files.
        beside: what stood beside the table of training and is made of it, `molecules:`; made again where this one lacks
            a column.
        outside: whether cells may name files outside of the table's folder and the current one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or lacks a column.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (file := Path(folder) / "new.csv").write_text("review\ngood\nbad\n")
        ...     list(GivenRows(str(file), columns={"review": "text", "mood": "label"}))
        [('new.csv, row 1', {'text': 'good'}), ('new.csv, row 2', {'text': 'bad'})]
    """

    def __init__(
        self,
        file: str,
        *,
        columns: Mapping[str, str],
        may_lack: Collection[str] = (),
        join: str | None = None,
        delimiter: str | None = None,
        quotes: bool | None = None,
        names: list[str] | None = None,
        pattern: str | None = None,
        beside: Sequence[str] = (),
        outside: bool = False,
    ) -> None:
        kept = {name: [role for role in roles_in(said) if role in _GIVEN] for name, said in columns.items()}
        given = {name: " and ".join(roles) for name, roles in kept.items() if roles}
        self.roles = Roles.of(given)
        opener = Opener(
            data_root=None,
            delimiter=delimiter,
            quotes=quotes,
            names=names,
            config=None,
            pattern=pattern,
            download=False,
        )
        self.rows, _ = opener.open({None: file})
        self.made = bool(beside) and not {*self.roles.names()} <= {*self.rows.columns}
        if self.made:
            self.rows, _ = opener.open({None: " + ".join([file, *beside])})
        there = {name: role for name, role in given.items() if name not in may_lack or name in self.rows.columns}
        self.roles = Roles.of(there)
        self.roles.check(self.rows.columns, self.rows.file)
        places = Places([Path()], outside=outside, ask="give --outside")
        self.reader = RowReader(self.roles, places, join=join, separator=";", names={}, words={})

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        return self.each(_raised)

    def each(self, refused: Callable[[Exception], None]) -> Iterator[tuple[str, dict[str, Any]]]:
        """All rows that can be read.

        Args:
            refused: called with the error of each other one, which names its file and row.
        """
        wanted, named = list(dict.fromkeys([*self.roles.names(), *[_READ] * self.made])), self.roles.one("id")
        for part in self.rows.parts:
            for error in getattr(part, "wrong", ()):
                refused(error)
            for i, row in enumerate(part.each(wanted)):
                if isinstance(row, BadRowError):
                    refused(row)
                    continue
                if self.made and not row[_READ]:
                    refused(ValueError(f"{part.where(i)}: RDKit cannot read its SMILES"))
                    continue
                found = self.reader.read(row, part.folder)
                if found.problems:
                    refused(ValueError(f"{part.where(i)}: {'; '.join(found.problems)}"))
                    continue
                name = None if named is None else cell(row, named)
                yield f"{part.name}, {part.place(i)}" if name is None else str(name), found.contents


def told_of_table(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the description of a run's data says of the columns of a table, as arguments of `GivenRows`; None where the
    run learned from no table.

    Args:
        data: the node `data` of a member.

    Example:
        >>> told_of_table({"source": {"columns": {"review": "text"}, "join": None, "shares": [0.8, 0.1, 0.1]}})
        {'columns': {'review': 'text'}}
    """
    if isinstance(columns := data.get("columns"), Mapping):
        kept = {name: data[name] for name in _KEPT if data.get(name) is not None}
        made = {"beside": (MOLECULES,)} if _of_molecules(data.get("files")) else {}
        return {"columns": {str(name): str(role) for name, role in columns.items()}, **kept, **made}
    inner = (told_of_table(each) for each in data.values() if isinstance(each, Mapping))
    return next((found for found in inner if found is not None), None)


def _of_molecules(files: Any) -> bool:
    """Whether graphs of molecules stand beside the files of a table, given as one, a list, or by split."""
    if isinstance(files, str):
        return any(piece.strip().startswith(MOLECULES) for piece in files.split(" + ")[1:])
    inner = files.values() if isinstance(files, Mapping) else files or ()
    return any(map(_of_molecules, inner))


def _raised(error: Exception) -> None:
    raise error
