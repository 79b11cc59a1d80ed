"""One look at all rows before any of them is used: what is wrong, which classes there are, which split each row has."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from omniformer.data.source import SPLITS, Split
from omniformer.data.table.graphs import GraphFacts
from omniformer.data.table.reading import RowReader, Sample
from omniformer.data.table.roles import Roles, cell, top
from omniformer.data.table.rows import BadRowError, Joined, Row
from omniformer.data.table.splits import SYNONYMS, bound, by_hash, digest_of, named
from omniformer.data.table.targets import in_order


@dataclass(slots=True)
class Looked:
    """What one look at a row found.

    Args:
        index: of the row in the table.
        split: as the table or the file says; None where neither does.
        names: the classes in it.
        values: the numbers in it.
        key: names it for its split.
        keys: rows that share one of them stay together.
        row_id: what its column says.
    """

    index: int
    split: Split | None
    names: tuple[str, ...]
    values: tuple[float, ...]
    key: str
    keys: tuple[str, ...]
    row_id: str | None


@dataclass(slots=True)
class Scan:
    """The rows of a table, looked at once.

    Args:
        rows: all of them.
        given: the split of each file, None where it says nothing.
        roles: of the columns.
        reader: of rows.
        fold: of a split column of whole numbers, the one that tests.
    """

    rows: Joined
    given: Sequence[Split | None]
    roles: Roles
    reader: RowReader
    fold: int
    kept: list[Looked] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    missing: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    graphs: GraphFacts = field(default_factory=GraphFacts)

    def run(self) -> "Scan":
        """Looks at all rows."""
        passed = self._passed()
        wanted = [name for name in self.roles.names() if name not in passed]
        tops = list(dict.fromkeys(name for each in wanted if (name := top(each, self.rows.columns)) is not None))
        splits = self._splits()
        seen: set[str] = set()
        for index, (row, split) in enumerate(zip(self.rows.each(tops), splits, strict=True)):
            if isinstance(row, BadRowError):
                self.problems.append(str(row))
            else:
                self._look(index, row, split, passed, seen)
        return self

    def _passed(self) -> frozenset[str]:
        """Columns of whole files, which are read only where their content decides on the split."""
        decided = None not in self.given or self.roles.one("split") or self.roles.one("id")
        heavy = self.rows.heavy() if decided else frozenset()
        return frozenset(name for name in self.roles.names() if top(name, self.rows.columns) in heavy)

    def _splits(self) -> Iterator[Split | str | None]:
        """The split of each row as its column or its file says."""
        column = self.roles.one("split")
        if column is None:
            for part, split in zip(self.rows.parts, self.given, strict=True):
                yield from [split] * len(part)
            return
        outer = str(top(column, self.rows.columns))
        yield from named(
            [None if isinstance(row, BadRowError) else cell(row, column) for row in self.rows.each([outer])], self.fold
        )

    def _look(self, index: int, row: Row, split: Any, passed: frozenset[str], seen: set[str]) -> None:
        sample = self.reader.read(row, self.rows.part(index)[0].folder, passed=passed)
        problems = [f"{self.rows.where(index)}, {each}" for each in sample.problems]
        column = self.roles.one("split")
        if column is not None and split not in SPLITS:
            told = "is empty" if split is None else f"{split!r} is not the name of a split"
            problems.append(f"{self.rows.where(index)}, column {column!r}: {told}; known are {', '.join(SYNONYMS)}")
        row_id = cell(row, name) if (name := self.roles.one("id")) else None
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
        self.kept.append(self._looked(index, row, sample, split, row_id, passed))

    def _count(self, sample: Sample, passed: frozenset[str]) -> None:
        for modality, columns in self.roles.given.items():
            if modality not in sample.contents and not passed & {*columns}:
                self.missing[modality] += 1
        targets = self.roles.targets
        for role, absent in (
            ("labels", sample.tags is None and not sample.answers),
            ("labels", any(answer != answer for answer in sample.answers)),
            ("value", any(value != value for value in sample.values)),
            ("token_labels", sample.words is None),
            ("span", sample.span[0] < 0),
        ):
            if absent and (role in targets or (role == "span" and "span.text" in targets)):
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

    def _looked(
        self, index: int, row: Row, sample: Sample, split: Split | None, row_id: Any, passed: frozenset[str]
    ) -> Looked:
        names = tuple(
            str(each) for each in (sample.label, *(sample.tags or ()), *(sample.words or ())) if each is not None
        )
        given = {
            modality: [cell(row, name) for name in columns if name not in passed]
            for modality, columns in self.roles.given.items()
        }
        bare = all(value is None for cells in given.values() for value in cells)
        digest = f"id {row_id}" if bare else digest_of(given)
        group = cell(row, name) if (name := self.roles.one("group")) else None
        keys = (digest,) if group is None else (digest, f"group {group}")
        key = digest if row_id is None else f"id {row_id}"
        return Looked(
            index=index,
            split=split,
            names=names,
            values=tuple(sample.values),
            key=key if group is None else f"group {group}",
            keys=keys,
            row_id=None if row_id is None else str(row_id),
        )

    @property
    def repeats(self) -> int:
        """How many rows hold what another one before them holds."""
        return len(self.kept) - len({each.keys[0] for each in self.kept})

    def leaks(self) -> dict[Split, int]:
        """How many rows of validation and test hold what a row of training holds."""
        trained = {each.keys[0] for each in self.kept if each.split == "train"}
        found: dict[Split, int] = {
            name: sum(each.split == name and each.keys[0] in trained for each in self.kept) for name in ("val", "test")
        }
        return {name: n for name, n in found.items() if n}

    def divide(self, shares: Sequence[float], folds: int | None) -> None:
        """Gives a split to the rows that have none; and to rows of training, where nothing validates."""
        free = [each for each in self.kept if each.split is None]
        if free:
            self._divide(free, shares, None if folds is None else (self.fold, folds))
        elif shares[1] and all(each.split != "val" for each in self.kept):
            trained = [each for each in self.kept if each.split == "train"]
            self._divide(trained, (1 - shares[1], shares[1], 0.0), None)

    def _divide(self, rows: list[Looked], shares: Sequence[float], fold: tuple[int, int] | None) -> None:
        strata = [each.names for each in rows] if "label" in self.roles.targets else None
        parts = by_hash(
            [each.key for each in rows], bound([each.keys for each in rows]), strata=strata, shares=shares, fold=fold
        )
        for each, split in zip(rows, parts, strict=True):
            each.split = split

    def trained(self) -> tuple[str, ...]:
        """The classes of the rows of training, in order."""
        return in_order(name for each in self.kept if each.split == "train" for name in each.names)

    def refuse_unknown(self, classes: Sequence[str]) -> None:
        """Makes a problem of each row with a class that is not among these, and keeps the others."""
        known, kept = set(classes), []
        for each in self.kept:
            strange = next((name for name in each.names if name not in known), None)
            if strange is None:
                kept.append(each)
            else:
                shown = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
                self.problems.append(
                    f"{self.rows.where(each.index)}: class {strange!r} is not among those of training, {shown}"
                )
        self.kept = kept
