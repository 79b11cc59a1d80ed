"""A corpus as one memory-mapped file of ids with an index: written in parallel, resumable, read without loading."""

import hashlib
import json
import multiprocessing
import os
import shutil
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from omniformer_tokenizers.media import MediaError
from omniformer_tokenizers.text.base import TextTokenizer

Documents = Callable[[], Iterable[str]]
"""What gives the documents of one part of a corpus, each time it is called; pickles, for other processes."""

MANIFEST_FILE = "manifest.json"
TOKENS_FILE = "tokens.bin"
ENDS_FILE = "ends.bin"
_BATCH_CHARACTERS = 4_000_000


class Corpus:
    """Documents of ids in one file that is mapped, not loaded: opening costs nothing, whatever the size.

    It pickles as the name of its folder.

    Args:
        folder: where `encode_corpus` or `write_corpus` wrote it.

    Raises:
        FileNotFoundError: there is no finished corpus.
        ValueError: its files do not have the sizes that the manifest tells.

    Shapes:
        `tokens`: unsigned integers `[all tokens]`, the documents end to end; `corpus[i]`: those of document i.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = folder = Path(folder)
        if not (folder / MANIFEST_FILE).is_file():
            raise FileNotFoundError(f"{folder} holds no finished corpus: {MANIFEST_FILE} is missing")
        self.manifest: dict[str, Any] = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        self.tokens = _mapped(folder / TOKENS_FILE, self.manifest["dtype"], self.manifest["n_tokens"])
        self._ends = _mapped(folder / ENDS_FILE, "int64", self.manifest["n_documents"])

    def __reduce__(self) -> tuple[type["Corpus"], tuple[Path]]:
        return Corpus, (self.folder,)

    def __len__(self) -> int:
        """The number of documents."""
        return len(self._ends)

    def __getitem__(self, index: int) -> np.ndarray:
        """The ids of one document, as a view of the file."""
        if not 0 <= index < len(self):
            raise IndexError(f"document {index} is outside 0..{len(self) - 1}")
        return self.tokens[self._ends[index - 1] if index else 0 : self._ends[index]]

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each document."""
        return np.diff(self._ends, prepend=0)


def read_documents(path: str | Path, *, text_key: str = "text") -> Iterator[str]:
    """The documents of a file, one after the other: each line's `text_key` of a `.jsonl` file, else the whole file.

    Raises:
        MediaError: the file cannot be read, or a line is not a JSON object with that key; names file and line.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            if path.suffix != ".jsonl":
                yield file.read()
                return
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _document(line, f"{path}, line {number}", text_key)
    except (OSError, UnicodeDecodeError) as error:
        raise MediaError(f"{path}: cannot be read as text: {error}") from error


def encode_corpus(
    sources: Sequence[str | Path],
    folder: str | Path,
    *,
    tokenizer: TextTokenizer,
    processes: int = 1,
    text_key: str = "text",
    end_documents: bool = True,
) -> Corpus:
    """Encodes files of text into `folder`, and opens the result; each file is a part, see `write_corpus`.

    Args:
        sources: text files, and `.jsonl` files with a document on each line; their order is the order of the corpus.
        folder: made when missing.
        tokenizer: fitted.
        processes: how many work at the same time.
        text_key: the key of the text in a line of JSON.
        end_documents: put the end-of-text id after each document.

    Raises:
        ValueError: no sources, or the folder holds a corpus or parts of other sources (path, size, time of change) or
            another tokenizer.
        MediaError: a source cannot be read.
    """
    if not sources:
        raise ValueError("encode_corpus() received no sources; pass at least one file")
    parts = [partial(read_documents, str(source), text_key=text_key) for source in sources]
    about = {"sources": [described(source) for source in sources], "text_key": text_key}
    return write_corpus(
        parts, folder, tokenizer=tokenizer, about=about, processes=processes, end_documents=end_documents
    )


def write_corpus(
    parts: Sequence[Documents],
    folder: str | Path,
    *,
    tokenizer: TextTokenizer,
    about: Mapping[str, Any],
    processes: int = 1,
    end_documents: bool = True,
    progress: Callable[[int], None] = lambda characters: None,
) -> Corpus:
    """Encodes documents, however they are read, into `folder`, and opens the result.

    Each part is written under another name and renamed when complete. A run that was interrupted continues with the
    parts that are missing, if what is told of them and the tokenizer are the same. The result does not depend on
    `processes`. With several, the calling script needs the usual `if __name__ == "__main__":`.

    Args:
        parts: what gives the documents; they are read as they are encoded, and never held together.
        folder: made when missing.
        tokenizer: fitted. Ids are stored in 16 bits where its vocabulary allows it, else in 32, with the special tokens
            that it puts around a text.
        about: plain values that say which documents these are; others are not mixed with them.
        processes: how many work at the same time, on one part each.
        end_documents: put the end-of-text id after each document.
        progress: told how many characters more are done; with several processes only of whole parts, as 0.

    Raises:
        ValueError: the folder holds a corpus or parts of other documents or another tokenizer.

    Example:
        >>> import tempfile
        >>> from omniformer_tokenizers import ByteTokenizer
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     corpus = write_corpus([lambda: ["a", "cat"]], folder, tokenizer=ByteTokenizer(), about={"by": "hand"})
        ...     len(corpus), corpus.lengths.tolist()
        (2, [2, 4])
    """
    folder = Path(folder)
    places = folder / "parts"
    dtype = "uint16" if tokenizer.vocab_size <= 2**16 else "uint32"
    job = {**about, "dtype": dtype, "tokenizer": tokenizer.digest, "end_documents": end_documents}
    if (folder / MANIFEST_FILE).is_file():
        _same_job(json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))["job"], job, folder)
        return Corpus(folder)
    places.mkdir(parents=True, exist_ok=True)
    if (places / "job.json").is_file():
        _same_job(json.loads((places / "job.json").read_text(encoding="utf-8")), job, folder)
    tokenizer.save_pretrained(places / "tokenizer")
    _write_whole(places / "job.json", json.dumps(job).encode())
    missing = [i for i in range(len(parts)) if not (places / f"{i:06d}.ends").is_file()]
    calls = [(parts[i], str(places), i, dtype, end_documents) for i in missing]
    if processes > 1 and len(calls) > 1:
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            for _ in pool.map(_encode_part, *zip(*calls, strict=True)):
                progress(0)
    else:
        for call in calls:
            _encode_part(*call, tokenizer=tokenizer, progress=progress)
    _finish(folder, places, len(parts), job)
    return Corpus(folder)


def described(source: str | Path) -> list[str | int]:
    """What tells one state of a file from another: its path, size, and time of change.

    Raises:
        MediaError: there is no such file.
    """
    try:
        stat = Path(source).stat()
    except OSError as error:
        raise MediaError(f"{source}: cannot be read as text: {error}") from error
    return [str(source), stat.st_size, stat.st_mtime_ns]


def _encode_part(
    documents: Documents,
    places: str,
    number: int,
    dtype: str,
    end_documents: bool,
    tokenizer: TextTokenizer | None = None,
    progress: Callable[[int], None] = lambda characters: None,
) -> None:
    tokenizer = tokenizer or _tokenizer_of(places)
    end = np.array([tokenizer.end_of_text] if end_documents else [], dtype)
    ends, n = array("q"), 0
    path = Path(places) / f"{number:06d}.tokens"
    with path.open("wb") as file:
        for batch in _batches(documents()):
            for tokens in tokenizer.encode_batch(batch):
                ids = tokens.values.numpy().astype(dtype)
                file.write(ids.tobytes() + end.tobytes())
                n += len(ids) + len(end)
                ends.append(n)
            progress(sum(map(len, batch)))
        file.flush()
        os.fsync(file.fileno())
    # The list of ends comes last and appears at once: where it is, the part is complete.
    _write_whole(path.with_suffix(".ends"), ends.tobytes())


_LOADED: dict[str, TextTokenizer] = {}


def _tokenizer_of(places: str) -> TextTokenizer:
    """The tokenizer of a job, loaded once in each process."""
    from omniformer_tokenizers.tokenizer import load

    if places not in _LOADED:
        tokenizer = load(Path(places) / "tokenizer")
        assert isinstance(tokenizer, TextTokenizer)
        _LOADED[places] = tokenizer
    return _LOADED[places]


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
    """Documents in groups of bounded size, so that memory does not grow with the file."""
    batch, size = [], 0
    for document in documents:
        batch.append(document)
        size += len(document)
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _finish(folder: Path, places: Path, n_parts: int, job: dict[str, Any]) -> None:
    """Joins the parts to one file, writes the manifest last, and removes the parts."""
    ends, digest, n = [], hashlib.sha256(), 0
    itemsize = np.dtype(job["dtype"]).itemsize
    with (folder / TOKENS_FILE).open("wb") as out:
        for i in range(n_parts):
            with (places / f"{i:06d}.tokens").open("rb") as part:
                while block := part.read(1 << 24):
                    digest.update(block)
                    out.write(block)
            ends.append(np.fromfile(places / f"{i:06d}.ends", np.int64) + n)
            n = out.tell() // itemsize
        out.flush()
        os.fsync(out.fileno())
    joined = np.concatenate(ends)
    _write_whole(folder / ENDS_FILE, joined.tobytes())
    manifest = {
        "dtype": job["dtype"],
        "n_tokens": n,
        "n_documents": len(joined),
        "documents_of_source": [len(part) for part in ends],
        "sha256": digest.hexdigest(),
        "job": job,
    }
    _write_whole(folder / MANIFEST_FILE, (json.dumps(manifest, indent=2) + "\n").encode())
    shutil.rmtree(places)


def _same_job(found: dict[str, Any], job: dict[str, Any], folder: Path) -> None:
    if other := [key for key in job if found.get(key) != job[key]]:
        raise ValueError(f"{folder} holds a corpus with other {', '.join(other)}; choose another folder or remove it")


def _document(line: str, where: str, text_key: str) -> str:
    try:
        text = json.loads(line)[text_key]
    except (ValueError, KeyError, TypeError) as error:
        raise MediaError(f"{where}: expected a JSON object with the key {text_key!r}: {error!r}") from error
    if not isinstance(text, str):
        raise MediaError(f"{where}: {text_key!r} holds {type(text).__name__}, not text")
    return text


def _write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that it is either complete or not there."""
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _mapped(path: Path, dtype: str, n: int) -> np.ndarray:
    size = path.stat().st_size
    if size != n * np.dtype(dtype).itemsize:
        raise ValueError(f"{path} has {size} bytes; its manifest tells of {n} numbers of {dtype}")
    return np.memmap(path, dtype=dtype, mode="r") if n else np.zeros(0, dtype)
