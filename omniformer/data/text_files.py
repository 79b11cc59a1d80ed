"""One's own texts: plain files or JSON lines, with labels or without."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from omniformer_tokenizers.files import decoded, lines_of

from omniformer.core.ranges import BelowOne
from omniformer.data.finding import matching_files
from omniformer.data.sets.reading import unpacked
from omniformer.data.source import Raw, Source, Split
from omniformer.data.splitting import hashed_split, names_apart
from omniformer.data.table.json_lines import JsonRows
from omniformer.data.table.rows import BadRowError, Row

_SUFFIXES = (".txt", ".jsonl", ".txt.gz", ".jsonl.gz")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    id: str
    where: str
    text: str
    label: str | None = None
    value: float | None = None


class TextFiles(Source):
    """Texts from `.txt` and `.jsonl` files, also gzip-ed (`.txt.gz`), for language models or classification.

    A line of a `.jsonl` file is an object: one document. Where `val` or `test` is not given, a share of the training
    documents is taken for it, of each class alike, by the hashes of their places: file name and line, wherever the
    files lie.

    Args:
        train: files of the training split, as paths or patterns such as `books/*.txt`; relative ones are looked for
            where one stands, then under `data_root`.
        val: files of the validation split; None takes the share `val_share` of the training documents.
        test: files of the test split; None takes the share `test_share` of the training documents.
        data_root: where data lies on this machine; None means the current folder alone.
        document: what a document is in a `.txt` file: the whole `file`, a `paragraph` (between blank lines), or a
            `line`, which only a line feed ends, with or without a carriage return.
        text_key: the field of a JSON line that holds the text.
        label_key: the field that holds the class; None for texts without classes.
        value_key: the field that holds a number to predict; None for texts without.
        val_share: the share of validation where `val` is None.
        test_share: the share of test where `test` is None.

    Raises:
        FileNotFoundError: a path or pattern matches no file.
        ValueError: a file is neither text nor JSON lines, is not UTF-8, or a line lacks a field; names file and line.
    """

    modalities = ("text",)

    def __init__(
        self,
        *,
        train: str | list[str],
        val: str | list[str] | None = None,
        test: str | list[str] | None = None,
        data_root: str | None = None,
        document: Literal["file", "paragraph", "line"] = "file",
        text_key: str = "text",
        label_key: str | None = None,
        value_key: str | None = None,
        val_share: BelowOne = 0.1,
        test_share: BelowOne = 0.1,
    ) -> None:
        if document not in ("file", "paragraph", "line"):
            raise ValueError(f"document={document!r} is not known; choose 'file', 'paragraph' or 'line'")
        self.files = {
            "train": matching_files(train, data_root, _SUFFIXES),
            "val": None if val is None else matching_files(val, data_root, _SUFFIXES),
            "test": None if test is None else matching_files(test, data_root, _SUFFIXES),
        }
        paths = list(dict.fromkeys(path for files in self.files.values() for path in files or ()))
        self.names = dict(zip(paths, names_apart(paths), strict=True))
        self.document = document
        self.keys = {"text": text_key, "label": label_key, "value": value_key}
        self.shares = {"val": val_share if val is None else 0.0, "test": test_share if test is None else 0.0}

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the targets."""
        if self.keys["label"] is None:
            return ()
        return tuple(sorted({text.label for text in self._texts["train"] if text.label is not None}))

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order."""
        number = {label: torch.tensor(i) for i, label in enumerate(self.labels)}
        raws = []
        for text in self._texts[name]:
            targets = {}
            if text.label is not None:
                if text.label not in number:
                    raise ValueError(
                        f"{text.where}: class {text.label!r} has no training text; known: {', '.join(number)}"
                    )
                targets["label"] = number[text.label]
            if text.value is not None:
                targets["value"] = torch.tensor(text.value)
            raws.append(Raw(id=text.id, contents={"text": text.text}, targets=targets))
        return raws

    @cached_property
    def _texts(self) -> dict[Split, list[_Text]]:
        read: dict[Split, list[_Text]] = {
            name: [text for path in files for text in self._read(path)] if (files := self.files[name]) else []
            for name in ("train", "val", "test")
        }
        if not self.shares["val"] and not self.shares["test"]:
            return read
        texts = read["train"]
        labels = [text.label for text in texts]
        ids = [text.id for text in texts]
        split = hashed_split(ids, val=self.shares["val"], test=self.shares["test"], strata=labels)
        if not all(split[name] for name in ("val", "test") if self.shares[name]):
            classes = f" of {len(set(labels))} classes" if self.keys["label"] else ""
            raise ValueError(
                f"{len(texts)} training document(s){classes} cannot be split; give val and test files, other val_share "
                "and test_share (0 takes none), or smaller documents (document=paragraph or line)"
            )
        own = {name: [texts[i] for i in split[name]] for name in split}
        return {name: own[name] if name == "train" or self.shares[name] else read[name] for name in read}

    def _read(self, path: Path) -> Iterator[_Text]:
        name = path.name.removesuffix(".gz")
        if name.endswith(".jsonl"):
            yield from self._read_lines(path)
            return
        if self.keys["label"] is not None or self.keys["value"] is not None:
            raise ValueError(f"{path} has no fields; label_key and value_key need JSON lines (.jsonl)")
        text = _content(path)
        if self.document == "file":
            yield _Text(id=self.names[path], where=str(path), text=text)
            return
        parts = text.split("\n\n") if self.document == "paragraph" else lines_of(text)
        for number, part in enumerate(parts, start=1):
            if part.strip():
                place = f", {self.document} {number}"
                yield _Text(id=self.names[path] + place, where=str(path) + place, text=part.strip("\n"))

    def _read_lines(self, path: Path) -> Iterator[_Text]:
        rows = JsonRows(path)
        for index, row in enumerate(rows.each(())):
            try:
                if isinstance(row, BadRowError):
                    raise row
                yield self._of_row(row, f"{self.names[path]}, {rows.place(index)}", rows.where(index))
            except ValueError as error:
                self.pass_over(error)

    def _of_row(self, row: Row, id: str, where: str) -> _Text:
        for key in self.keys.values():
            if key is not None and row.get(key) is None:
                raise ValueError(f"{where}: no field {key!r}; found {sorted(row)}")
        text, label, value = (None if key is None else row[key] for key in self.keys.values())
        if not isinstance(text, str):
            raise ValueError(f"{where}: {self.keys['text']!r} is {text!r}; expected a string")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"{where}: {self.keys['value']!r} is {value!r}; expected a number")
        return _Text(
            id=id,
            where=where,
            text=text,
            label=None if label is None else str(label),
            value=None if value is None else float(value),
        )


def _content(path: Path) -> str:
    try:
        data = unpacked(path)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read as UTF-8 text: {error}") from error
    return decoded(data, str(path))
