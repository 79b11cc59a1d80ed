"""From files of text to a folder of ids: `omniformer tokenize`, in memory that does not grow with the files."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import omniformer_tokenizers
from omniformer_tokenizers import BPETokenizer, Corpus, write_corpus
from omniformer_tokenizers.text.base import TextTokenizer
from omniformer_tokenizers.text.corpus import described

from omniformer.data.corpus import TOKENIZER
from omniformer.data.document_files import DocumentFile
from omniformer.data.source import SPLITS, Split
from omniformer.data.table.rows import BadRowError


@dataclass(slots=True)
class Looked:
    """What one reading of all files found.

    Args:
        documents: how many, by split.
        characters: how many, by split.
        empty: documents without a letter, which are passed over.
        bad: rows that cannot be read, each with its place and the cause.
    """

    documents: Counter[Split] = field(default_factory=Counter)
    characters: Counter[Split] = field(default_factory=Counter)
    empty: int = 0
    bad: list[str] = field(default_factory=list)


def look(files: Mapping[Split, Sequence[DocumentFile]], progress: Callable[[int], None]) -> Looked:
    """Reads all files once and counts.

    Args:
        files: by the split that they give; those of training are divided as their `division` says.
        progress: told how many characters more were read.

    Raises:
        ValueError: a file or row cannot be read, or a split is left without a document.
    """
    found = Looked()
    for given, parts in files.items():
        for text in chain.from_iterable(part.each() for part in parts):
            if isinstance(text, BadRowError):
                found.bad.append(str(text))
                continue
            progress(len(text))
            if not text.strip():
                found.empty += 1
                continue
            split = parts[0].division.split(text) if given == "train" else given
            found.documents[split] += 1
            found.characters[split] += len(text)
    _check(files, found)
    return found


def _check(files: Mapping[Split, Sequence[DocumentFile]], found: Looked) -> None:
    division = files["train"][0].division
    wanted = {"train": True, "val": division.val > 0 or "val" in files, "test": division.test > 0 or "test" in files}
    for split in SPLITS:
        if wanted[split] and not found.documents[split]:
            raise ValueError(
                f"no document is left for {split}, of {found.documents.total()}; give smaller documents (--document "
                "paragraph or line), other --val-share and --test-share, or files of --val and --test"
            )


def tokenizer_in(out: Path, files: Sequence[DocumentFile], *, vocab_size: int, characters: int) -> TextTokenizer:
    """The tokenizer of a corpus: that which is there already, or byte pairs learned from the documents of training.

    Args:
        out: the folder of the corpus.
        files: of training.
        vocab_size: of a vocabulary that is learned.
        characters: so many of the first documents it is learned from; counting all of a large corpus adds little.
    """
    if (out / TOKENIZER).is_dir():
        return text_tokenizer(out / TOKENIZER)
    texts = _first(chain.from_iterable(replace(file, split="train")() for file in files), characters)
    return BPETokenizer(vocab_size=vocab_size).fit(texts)


def text_tokenizer(folder: Path) -> TextTokenizer:
    """A saved tokenizer of texts.

    Raises:
        FileNotFoundError: the folder holds no saved tokenizer.
        ValueError: it is not one of texts.
    """
    tokenizer = omniformer_tokenizers.load(folder)
    if not isinstance(tokenizer, TextTokenizer):
        raise ValueError(f"{folder} holds a {type(tokenizer).__name__}; give a tokenizer of texts")
    return tokenizer


def write(
    files: Mapping[Split, Sequence[DocumentFile]],
    out: Path,
    *,
    tokenizer: TextTokenizer,
    processes: int,
    progress: Callable[[int], None],
) -> dict[Split, Corpus]:
    """Writes the ids of each split into a folder of its own, and the tokenizer beside them.

    What is there already of the same files and tokenizer stays: a second call does nothing, and one that was
    interrupted goes on.

    Args:
        files: as for `look`.
        out: made where it is missing.
        tokenizer: fitted.
        processes: how many files are encoded at a time.
        progress: told how many characters more are done, where there is one process.

    Raises:
        ValueError: the folder holds ids of other files or of another tokenizer.
    """
    tokenizer.save_pretrained(out / TOKENIZER)
    division = files["train"][0].division
    written: dict[Split, Corpus] = {}
    for split in SPLITS:
        share = {"train": 1.0, "val": division.val, "test": division.test}[split]
        parts = [replace(file, split=split) for file in files["train"]] if share else []
        parts += [] if split == "train" else files.get(split, [])
        if parts:
            written[split] = write_corpus(
                parts, out / split, tokenizer=tokenizer, about=_about(parts), processes=processes, progress=progress
            )
    return written


def _about(parts: Sequence[DocumentFile]) -> dict[str, object]:
    """All that decides which documents these are."""
    first = parts[0]
    return {
        "sources": [described(part.path) for part in parts],
        "unit": first.unit,
        "text_key": first.text_key,
        "split": first.split,
        "shares": [first.division.val, first.division.test],
    }


def _first(texts: Iterator[str], characters: int) -> Iterator[str]:
    """The first documents, of so many characters together."""
    for text in texts:
        yield text
        characters -= len(text)
        if characters <= 0:
            return
