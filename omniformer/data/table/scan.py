"""One look at all rows before any of them is used: what is wrong, which classes there are, which split each row has."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from omniformer.data.source import SPLITS, Split
from omniformer.data.table.conditions import FILE, NTH, OUT, PART, ROW, Conditions
from omniformer.data.table.graphs import GraphFacts
from omniformer.data.table.reading import RowReader, Sample
from omniformer.data.table.roles import Roles, cell, top
from omniformer.data.table.rows import BadRowError, Joined, Row, Rows
from omniformer.data.table.seen import Seen
from omniformer.data.table.splits import SYNONYMS, by_hash, digest_of, named
from omniformer.data.table.targets import in_order
from omniformer.terminal.progress import counted

# Of targets without which a row is kept: whether it lacks one.
_LACKS: Mapping[str, Callable[[Sample], bool]] = {
    "labels": lambda found: any(each != each for each in found.answers) or (found.tags is None and not found.answers),
    "value": lambda found: any(each != each for each in found.values),
    "token_labels": lambda found: found.words is None,
    "span": lambda found: found.span[0] < 0,
}


@dataclass(slots=True)
class Looked:
    """What a look at all rows found.

    Args:
        kept: the rows that can be used, divided.
        classes: that they name, in order.
        graphs: what graphs that are written in the table have, see `GraphFacts`.
        problems: what is wrong, each with its place.
        missing: how many rows lack what, and are kept.
        left_out: how many rows are left out for the lack of what.
    """

    kept: Seen
    classes: tuple[str, ...]
    graphs: dict[str, Any]
    problems: list[str]
    missing: dict[str, int]
    left_out: dict[str, int]

    NAMES: ClassVar = ("classes", "graphs", "problems", "missing", "left_out", *Seen.NAMES)

    def told(self) -> dict[str, Any]:
        """Arrays and what JSON can say, of which `from_told` makes the same again."""
        return {name: getattr(self, name) for name in self.NAMES[:5]} | self.kept.told()

    @classmethod
    def from_told(cls, told: Mapping[str, Any]) -> "Looked":
        """What `told` has told."""
        graphs = {name: tuple(each) if isinstance(each, list) else each for name, each in told["graphs"].items()}
        counts = [told[name] for name in ("problems", "missing", "left_out")]
        return cls(Seen.from_told(told), tuple(told["classes"]), graphs, *counts)


@dataclass(slots=True)
class Scan:
    """The rows of a table, looked at once.

    Args:
        rows: all of them.
        given: the split of each file, None where it says nothing.
        roles: of the columns.
        reader: of rows.
        fold: of a split column of whole numbers, the one that tests.
        conditions: what rows must hold to be in a split; None where nothing is said of it.
    """

    rows: Joined
    given: Sequence[Split | None]
    roles: Roles
    reader: RowReader
    fold: int
    conditions: Conditions | None = None
    kept: Seen = field(init=False)
    problems: list[str] = field(default_factory=list)
    missing: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    graphs: GraphFacts = field(default_factory=GraphFacts)

    def __post_init__(self) -> None:
        named = self.roles.one("group") or self.roles.one("id")
        self.kept = Seen(n_values=len(self.roles.targets.get("value", ())), named=named is not None)

    def run(self) -> "Scan":
        """Looks at all rows."""
        passed = self._passed()
        wanted = [name for name in self.roles.names() if name not in passed]
        tops = list(dict.fromkeys(name for each in wanted if (name := top(each, self.rows.columns)) is not None))
        seen = set[str]()
        rows = (
            (row, part)
            for part in self.rows.parts
            for row in part.each([name for name in tops if name in part.columns])
        )
        told = counted(rows, f"looking at the rows of {self.rows.file}", len(self.rows))
        for index, ((row, part), split) in enumerate(zip(told, self._splits(), strict=True)):
            if isinstance(row, BadRowError):
                self.problems.append(str(row))
            else:
                self._look(index, row, split, passed, seen, part)
        return self

    def _passed(self) -> frozenset[str]:
        """Columns of whole files, which are read only where their content decides on the split."""
        named = all(self.roles.name_of_rows(part.columns) for part in self.rows.parts)
        decided = None not in self.given or self.conditions or self.roles.one("split") or named
        heavy = self.rows.heavy() if decided else frozenset()
        return frozenset(name for name in self.roles.names() if top(name, self.rows.columns) in heavy)

    def _splits(self) -> Iterator[Split | str | None]:
        """The split of each row as its column or its file says."""
        column = self.roles.one("split")
        if self.conditions is not None:
            yield from self._by_conditions(self.conditions)
            return
        if column is None:
            for part, split in zip(self.rows.parts, self.given, strict=True):
                yield from [split] * len(part)
            return
        outer = str(top(column, self.rows.columns))
        yield from named(
            [None if isinstance(row, BadRowError) else cell(row, column) for row in self.rows.each([outer])], self.fold
        )

    def _by_conditions(self, conditions: Conditions) -> Iterator[Split | str | None]:
        """The split of each row by what it holds; that of its file, where one gives it and no condition holds."""
        label = self.roles.one("label") if NTH in conditions.columns else None
        if label is None and NTH in conditions.columns:
            raise ValueError(f"a condition names {NTH!r}, the number of a row of its class; no column is the label")
        wanted = [*conditions.columns, *([label] if label else [])]
        for part, given in zip(self.rows.parts, self.given, strict=True):
            tops = [name for each in wanted if (name := top(each, part.columns)) is not None]
            of_class: Counter[str] = Counter()
            for number, row in enumerate(part.each(tops)):
                try:
                    whole: dict[str, Any] = {}
                    if not isinstance(row, BadRowError):
                        kind = str(cell(row, label)) if label else ""
                        whole = {ROW: number, PART: part.inner, FILE: given, NTH: of_class[kind], **row}
                        of_class[kind] += 1
                    found = conditions.split(whole) if whole else None
                except ValueError as error:
                    found = None
                    self.problems.append(f"{part.where(number)}, {error}")
                yield found or given or "train"

    def _look(self, index: int, row: Row, split: Any, passed: frozenset[str], seen: set[str], part: Rows) -> None:
        if split == OUT:
            self.left_out[OUT] += 1
            return
        sample = self.reader.read(row, part.folder, passed=passed)
        problems = [f"{self.rows.where(index)}, {each}" for each in sample.problems]
        column = self.roles.one("split")
        if column is not None and self.conditions is None and split not in SPLITS:
            told = "is empty" if split is None else f"{split!r} is not the name of a split"
            problems.append(f"{self.rows.where(index)}, column {column!r}: {told}; known are {', '.join(SYNONYMS)}")
        row_id = cell(row, name) if (name := self.roles.name_of_rows(part.columns)) else None
        if name and (row_id is None or str(row_id) in seen):
            told = "is empty" if row_id is None else f"{str(row_id)!r} is there twice"
            problems.append(f"{self.rows.where(index)}, column {name!r}: the id {told}")
        if problems:
            self.problems += problems
            return
        seen.add(str(row_id))
        self._count(sample, passed)
        if lacking := self._lacking(sample, passed):
            self.left_out[lacking] += 1
            return
        self._keep(index, row, sample, split, row_id, passed)

    def _count(self, sample: Sample, passed: frozenset[str]) -> None:
        for modality, columns in self.roles.given.items():
            if modality not in sample.contents and not passed & {*columns}:
                self.missing[modality] += 1
        for role in {role.removesuffix(".text") for role in self.roles.targets} & _LACKS.keys():
            if _LACKS[role](sample):
                self.missing[role] += 1
        if isinstance(graph := sample.contents.get("graph"), dict):
            self.graphs.add(graph)

    def _lacking(self, sample: Sample, passed: frozenset[str]) -> str | None:
        """What a row lacks without which nothing can be learned from it."""
        if "label" in self.roles.targets and sample.label is None:
            return "label"
        for modality, columns in self.roles.answers.items():
            if modality not in sample.answer and not passed & {*columns}:
                return f"answer.{modality}"
        return None

    def _keep(
        self, index: int, row: Row, sample: Sample, split: Split | None, row_id: Any, passed: frozenset[str]
    ) -> None:
        given = {
            modality: [cell(row, name) for name in columns if name not in passed]
            for modality, columns in self.roles.given.items()
        }
        whole = not any(name in passed for columns in self.roles.given.values() for name in columns)
        group = cell(row, name) if (name := self.roles.one("group")) else None
        # A row of which not all was read is the same as no other.
        digest = digest_of(given if whole else {"row": index if row_id is None else row_id})
        named = f"group {group}" if group is not None else f"id {row_id}" if row_id is not None else digest
        names = (sample.label, *(sample.tags or ()), *(sample.words or ()))
        self.kept.add(
            index, split, [str(each) for each in names if each is not None], sample.values, bytes.fromhex(digest), named
        )

    def divide(self, shares: Sequence[float], folds: int | None) -> None:
        """Gives a split to the rows that have none; and to rows of training, where nothing validates."""
        free = self.kept.of(None)
        if len(free):
            self._divide(free, shares, None if folds is None else (self.fold, folds))
        elif shares[1] and not len(self.kept.of("val")):
            self._divide(self.kept.of("train"), (1 - shares[1], shares[1], 0.0), None)

    def _divide(self, places: np.ndarray, shares: Sequence[float], fold: tuple[int, int] | None) -> None:
        strata = self.kept.strata(places) if "label" in self.roles.targets else None
        keys = map(self.kept.key, places)
        sets = self.kept.sets(places, grouped=self.roles.one("group") is not None)
        self.kept.put(places, by_hash(keys, sets, strata=strata, shares=shares, fold=fold))

    def follow(self) -> None:
        """Gives rows that belong together the split of the first of them, whatever was said of the others."""
        every = np.arange(len(self.kept))
        sets = self.kept.sets(every, grouped=self.roles.one("group") is not None)
        _, first, own = np.unique(sets, return_index=True, return_inverse=True)
        self.kept.follow(first[own])

    def trained(self) -> tuple[str, ...]:
        """The classes of the rows of training, in order."""
        return in_order(self.kept.classes("train"))

    def refuse_unknown(self, classes: Sequence[str]) -> None:
        """Makes a problem of each row with a class that is not among these, and keeps the others."""
        shown = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
        strange = self.kept.strange(classes)
        self.problems += [
            f"{self.rows.where(self.kept.index[place])}: class {name!r} is not among those of training, {shown}"
            for place, name in strange.items()
        ]
        if strange:
            self.kept = self.kept.without(strange)
