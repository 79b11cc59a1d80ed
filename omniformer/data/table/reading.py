"""One row at a time: what it gives, what is to be written and predicted, and what is wrong with it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from omniformer.data.source import Marks, Raw
from omniformer.data.table.contents import Reader, conversation_of, joined, text_of
from omniformer.data.table.places import Places
from omniformer.data.table.roles import MESSAGES, Roles, cell
from omniformer.data.table.rows import Row
from omniformer.data.table.targets import (
    UNANSWERED,
    class_of,
    hot,
    number,
    span_of,
    tags_of,
    token_classes,
    yes_or_no,
)

_Read = TypeVar("_Read")


@dataclass(slots=True)
class Sample:
    """What a row holds, once its cells are read.

    Args:
        contents: by modality; one that is missing is left out.
        answer: the same of what is to be written.
        label: the class; None where it is missing, or the table has none.
        tags: the classes of a table with several a row; None where they are missing.
        answers: yes or no, by question; NaN where there is no answer.
        values: the numbers.
        words: the classes of words or nodes.
        span: of the answer in the text.
        problems: what is wrong, each with its column.
    """

    contents: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    label: str | None = None
    tags: list[str] | None = None
    answers: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    words: list[str | None] | None = None
    span: tuple[int, int] = UNANSWERED
    problems: list[str] = field(default_factory=list)


class RowReader:
    """Reads rows as their columns' roles say.

    Args:
        roles: of the columns.
        places: finds the files that cells name.
        join: what stands between several texts; None leaves two as a pair.
        separator: what stands between the classes of a cell with several.
        names: what class numbers stand for, by column, where the format says so.
        words: how a class is called, by what a cell says, where that is otherwise.
    """

    def __init__(
        self,
        roles: Roles,
        places: Places,
        *,
        join: str | None,
        separator: str,
        names: Mapping[str, tuple[str, ...]],
        words: Mapping[str, str],
    ) -> None:
        self.roles, self.places, self.join, self.separator, self.names = roles, places, join, separator, names
        self.words = words

    def read(self, row: Row, beside: Path | None, *, passed: frozenset[str] = frozenset()) -> Sample:
        """What a row holds; what is wrong with it is in its `problems`.

        Args:
            row: its cells.
            beside: the folder of its table.
            passed: columns whose cells were not read.
        """
        found = Sample()
        for roles, into in ((self.roles.given, found.contents), (self.roles.answers, found.answer)):
            for modality, columns in roles.items():
                read = [name for name in columns if name not in passed]
                content = self._content(found, {name: cell(row, name) for name in read}, modality, beside)
                if content is not None:
                    into[modality] = content
        if not found.contents and not found.problems and not passed & {*self.roles.names()}:
            found.problems.append(f"no content: all of {', '.join(sum(self.roles.given.values(), ()))} are empty")
        self._targets(found, row)
        return found

    def _content(self, found: Sample, cells: Mapping[str, Any], modality: str, beside: Path | None) -> Any:
        """What the cells of one modality give; None where all are empty."""
        there = {name: value for name, value in cells.items() if value is not None}
        if not there:
            return None
        if modality == "text" and MESSAGES in self.roles.columns:
            ((name, value),) = there.items()
            return _try(found, name, conversation_of, value, Reader("vision", self.places, beside).of)
        if modality == "text":
            texts = [_try(found, name, text_of, value) for name, value in there.items()]
            return None if None in texts else _try(found, next(iter(there)), joined, texts, self.join)
        return _try(found, next(iter(there)), Reader(modality, self.places, beside).read, list(there.values()))

    def _targets(self, found: Sample, row: Row) -> None:
        targets = self.roles.targets
        for name in targets.get("label", ()):
            if (value := cell(row, name)) is not None:
                label = _try(found, name, class_of, value, self.names.get(name, ()))
                found.label = self.words.get(label, label) if label is not None else None
        columns = targets.get("labels", ())
        if len(columns) == 1:
            if (value := cell(row, columns[0])) is not None:
                found.tags = _try(found, columns[0], tags_of, value, self.separator, self.names.get(columns[0], ()))
        else:
            found.answers = [_try(found, name, yes_or_no, cell(row, name)) or 0.0 for name in columns]
        found.values = [_try(found, name, number, cell(row, name)) or 0.0 for name in targets.get("value", ())]
        for name in targets.get("token_labels", ()):
            self._words(found, row, name)
        if "span" in targets or "span.text" in targets:
            self._span(found, row)

    def _words(self, found: Sample, row: Row, name: str) -> None:
        if (value := cell(row, name)) is None:
            return
        found.words = _try(found, name, token_classes, value, self.names.get(name, ()))
        words = self._word_count(row)
        if found.words is not None and words is not None and len(found.words) != words:
            found.problems.append(f"column {name!r}: {len(found.words)} classes for {words} words or nodes")

    def _word_count(self, row: Row) -> int | None:
        """How many words the last text of a row has, or nodes its graph."""
        if text := self.roles.given.get("text"):
            value = cell(row, text[-1])
            return len(value) if isinstance(value, list) else len(value.split()) if isinstance(value, str) else None
        graph = cell(row, self.roles.given["graph"][0]) if "graph" in self.roles.given else None
        return graph.get("n_nodes") if isinstance(graph, Mapping) else None

    def _span(self, found: Sample, row: Row) -> None:
        text = cell(row, self.roles.given["text"][-1])
        if not isinstance(text, str):
            return
        names = self.roles.targets.get("span", ())
        begin, end = ([cell(row, name) for name in names] + [None, None])[:2]
        answer = cell(row, name) if (name := self.roles.one("span.text")) else None
        found.span = _try(found, name or names[0], span_of, text, begin, end, answer) or UNANSWERED

    def raw(self, row: Row, sample: Sample, *, id: str, labels: Sequence[str], classes: Sequence[str]) -> Raw:
        """The raw sample of a row that was read.

        Args:
            row: its cells.
            sample: what they hold.
            id: what the sample is called.
            labels: the classes, or the questions, of the sample as a whole.
            classes: of words and nodes.
        """
        of_words = "token_labels" in self.roles.targets
        return Raw(
            id=id,
            contents=sample.contents,
            answer=sample.answer,
            targets=targets_of(sample, self.roles, labels),
            token_targets=of_nodes(sample, classes) if of_words and "text" not in self.roles.given else {},
            marks=self.marks(row, sample, classes),
        )

    def marks(self, row: Row, sample: Sample, classes: Sequence[str]) -> dict[str, Marks]:
        """What is to be predicted of stretches of the text."""
        targets = self.roles.targets
        if "text" not in self.roles.given or not targets.keys() & {"token_labels", "span", "span.text"}:
            return {}
        before = self._before(row)
        span = words = None
        if "span" in targets or "span.text" in targets:
            span = sample.span if sample.span == UNANSWERED else (sample.span[0] + before, sample.span[1] + before)
        if "token_labels" in targets:
            number_of = {name: i for i, name in enumerate(classes)}
            text = text_of(cell(row, self.roles.given["text"][-1]) or "")
            listed = cell(row, self.roles.given["text"][-1])
            places = _word_places(listed if isinstance(listed, list) else text.split(), text)
            words = tuple(
                (begin + before, end + before, -1 if name is None else number_of[name])
                for (begin, end), name in zip(places, sample.words or (), strict=False)
            )
        return {"text": Marks(span=span, words=words)}

    def _before(self, row: Row) -> int:
        """How many characters stand before the last text of a row, where all are one."""
        if self.join is None:
            return 0
        texts = [text_of(value) for name in self.roles.given["text"][:-1] if (value := cell(row, name)) is not None]
        return sum(len(text) + len(self.join) for text in texts)


def targets_of(sample: Sample, roles: Roles, classes: Sequence[str]) -> dict[str, Tensor]:
    """What is to be predicted of a sample as a whole."""
    found: dict[str, Tensor] = {}
    if "label" in roles.targets:
        found["label"] = torch.tensor(list(classes).index(str(sample.label)))
    if columns := roles.targets.get("labels"):
        if len(columns) > 1:
            found["labels"] = torch.tensor(sample.answers)
        else:
            found["labels"] = (
                torch.full((len(classes),), torch.nan) if sample.tags is None else hot(sample.tags, classes)
            )
    if "value" in roles.targets:
        found["value"] = torch.tensor(sample.values[0] if len(sample.values) == 1 else sample.values)
    return found


def of_nodes(sample: Sample, classes: Sequence[str]) -> dict[str, Tensor]:
    """The classes of tokens, one for each in order; one without a class does not count."""
    numbers = {name: i for i, name in enumerate(classes)}
    labels = [numbers.get(str(name), 0) for name in sample.words or ()]
    return {"label": torch.tensor(labels), "mask": torch.tensor([name is not None for name in sample.words or ()])}


def _word_places(words: Sequence[str], text: str) -> list[tuple[int, int]]:
    """From which to before which character each word stands, one after the other."""
    places, start = [], 0
    for word in words:
        begin = text.index(word, start)
        start = begin + len(word)
        places.append((begin, start))
    return places


def _try(found: Sample, column: str, read: Callable[..., _Read], *given: Any) -> _Read | None:
    """What is read; where it cannot be, the cause goes to the problems of the row."""
    try:
        return read(*given)
    except ValueError as error:
        found.problems.append(f"column {column!r}: {error}")
        return None
