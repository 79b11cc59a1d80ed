"""One's own texts: plain files or JSON lines, with labels or without."""

import glob
import json
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from omniformer_tokenizers.files import decoded, lines_of

from omniformer.data.sets.reading import unpacked
from omniformer.data.source import Raw, Source, Split, own, resolve
from omniformer.data.splitting import hashed_split, names_apart


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
        val_share: float = 0.1,
        test_share: float = 0.1,
    ) -> None:
        if document not in ("file", "paragraph", "line"):
            raise ValueError(f"document={document!r} is not known; choose 'file', 'paragraph' or 'line'")
        self.files = {
            "train": _matches(train, data_root),
            "val": None if val is None else _matches(val, data_root),
            "test": None if test is None else _matches(test, data_root),
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
        for number, line in enumerate(lines_of(_content(path)), start=1):
            if line.strip():
                try:
                    yield self._of_line(line, path, number)
                except ValueError as error:
                    self.pass_over(error)

    def _of_line(self, line: str, path: Path, number: int) -> _Text:
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{where}: not JSON: {error}") from error
        text, label, value = (_field(row, key, where) for key in self.keys.values())
        if not isinstance(text, str):
            raise ValueError(f"{where}: {self.keys['text']!r} is {text!r}; expected a string")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"{where}: {self.keys['value']!r} is {value!r}; expected a number")
        return _Text(
            id=f"{self.names[path]}, line {number}",
            where=where,
            text=text,
            label=None if label is None else str(label),
            value=None if value is None else float(value),
        )


def _field(row: Any, key: str | None, where: str) -> Any:
    if key is None:
        return None
    if not isinstance(row, dict) or row.get(key) is None:
        found = sorted(row) if isinstance(row, dict) else type(row).__name__
        raise ValueError(f"{where}: no field {key!r}; found {found}")
    return row[key]


def _content(path: Path) -> str:
    try:
        data = unpacked(path)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read as UTF-8 text: {error}") from error
    return decoded(data, str(path))


def _matches(patterns: str | list[str], data_root: str | None) -> list[Path]:
    """The files of paths and patterns, each once, in order."""
    found: list[Path] = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        paths = _named(pattern, data_root)
        if not paths:
            raise FileNotFoundError(
                f"no file matches {pattern!r} here, nor {str(resolve(pattern, data_root))!r} (data_root={data_root})"
            )
        known = [path for path in paths if path.name.removesuffix(".gz").endswith((".txt", ".jsonl"))]
        others = [path.name for path in paths if path not in known]
        if not known:
            raise ValueError(f"{paths[0]} is not one of .txt, .jsonl, .txt.gz, .jsonl.gz; rename or convert it")
        if others:
            warnings.warn(
                f"{pattern}: passed over {len(others)} of {len(paths)} files, which are not one of .txt, .jsonl, "
                f".txt.gz, .jsonl.gz: {', '.join(others[:8])}{', ...' if len(others) > 8 else ''}",
                stacklevel=2,
            )
        found += known
    return list(dict.fromkeys(found))


def _named(pattern: str, data_root: str | None) -> list[Path]:
    """The files of one path or pattern; a file of that very name, with brackets in it, comes before the pattern."""
    pattern = str(Path(pattern).expanduser())
    literal = own(pattern, data_root)
    if literal.is_file():
        return [literal]
    here, there = (
        [root / name for name in sorted(glob.glob(pattern, root_dir=root, recursive=True)) if (root / name).is_file()]
        for root in (Path(), Path(data_root or ".").expanduser())
    )
    if here and there and not here[0].samefile(there[0]):
        warnings.warn(
            f"{pattern!r} matches files here and under data_root={data_root}; those here are taken, give the whole "
            "path of the others to have those",
            stacklevel=2,
        )
    return here or there
