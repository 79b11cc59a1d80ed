"""`omniformer tokenize FILE...`: turns texts into ids once, so that training maps them from the disk."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omniformer.config import reported
from omniformer.config.arguments import command_parser
from omniformer.terminal.tables import show

if TYPE_CHECKING:
    from omniformer_tokenizers import Corpus

    from omniformer.data.document_files import DocumentFile
    from omniformer.data.source import Split
    from omniformer.data.tokenizing import Looked

_SHOWN = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes a folder of ids from files of text, JSON lines, CSV, Parquet or Arrow, and the tokenizer beside them.

    Memory does not grow with the files. A second call with the same files does nothing, and one that was interrupted
    goes on. Documents are dealt into training, validation and test by the hash of what they say; equal ones stay
    together.
    """
    parser = build_parser()
    given = parser.parse_args(arguments)
    for name in ("vocab_size", "fit_characters", "processes"):
        if getattr(given, name) < 1:
            parser.error(f"--{name.replace('_', '-')} is {getattr(given, name)}; give at least 1")
    with reported():
        _run(given)


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = command_parser(
        "tokenize",
        description=main.__doc__,
        epilog="Then: omniformer train modality=text data=corpus data.source.folder=OUT",
    )
    parser.add_argument("files", nargs="+", help="files or patterns of training: .txt .jsonl .csv .parquet .arrow ...")
    parser.add_argument("--out", required=True, help="the folder to write")
    parser.add_argument("--val", nargs="+", help="files of validation, in the place of --val-share")
    parser.add_argument("--test", nargs="+", help="files of test, in the place of --test-share")
    parser.add_argument("--val-share", type=float, help="share of validation (default: 0.005)")
    parser.add_argument("--test-share", type=float, help="share of test (default: 0.005)")
    parser.add_argument(
        "--document",
        choices=("file", "paragraph", "line"),
        default="file",
        help="what a document is in a .txt (default: file)",
    )
    parser.add_argument("--text-key", default="text", help="the column or key of the texts (default: text)")
    parser.add_argument(
        "--tokenizer",
        help="a saved tokenizer, or the folder of a run or of a published model whose tokenizer to take; without, byte "
        "pairs are learned",
    )
    parser.add_argument("--vocab-size", type=int, default=8192, help="of byte pairs that are learned (default: 8192)")
    parser.add_argument(
        "--fit-characters",
        type=int,
        default=100_000_000,
        help="how much of the training texts byte pairs are learned from (default: 100 million characters)",
    )
    parser.add_argument("--processes", type=int, default=1, help="files that are encoded at a time (default: 1)")
    parser.add_argument(
        "--on-error", choices=("raise", "skip"), default="raise", help="what to do with rows that cannot be read"
    )
    return parser


def _run(given: argparse.Namespace) -> None:
    from omniformer.data.tokenizing import look, tokenizer_in, write

    files = _files(given)
    out = Path(given.out).expanduser()
    begun = time.perf_counter()
    with _Progress("reading") as told:
        looked = look(files, told)
    _tell(looked)
    if given.tokenizer is None:
        tokenizer = tokenizer_in(out, files["train"], vocab_size=given.vocab_size, characters=given.fit_characters)
    else:
        tokenizer = _chosen(Path(given.tokenizer).expanduser())
    with _Progress("encoding", looked.characters.total()) as told:
        written = write(files, out, tokenizer=tokenizer, processes=given.processes, progress=told)
    _table(written, looked, time.perf_counter() - begun)
    print(f"omniformer train modality=text data=corpus data.source.folder={given.out}")


def _files(given: argparse.Namespace) -> "Mapping[Split, Sequence[DocumentFile]]":
    from omniformer.data.document_files import SUFFIXES, Division, DocumentFile
    from omniformer.data.finding import matching_files

    shares: dict[str, float] = {}
    for name in ("val", "test"):
        share, own = getattr(given, f"{name}_share"), getattr(given, name)
        if own and share:
            raise ValueError(f"--{name} and --{name}-share are both given; choose one")
        shares[name] = 0.0 if own else 0.005 if share is None else share
    division = Division(**shares)

    def of(patterns: Sequence[str], **more: Any) -> "list[DocumentFile]":
        return [
            DocumentFile(path=path, unit=given.document, text_key=given.text_key, skip=given.on_error == "skip", **more)
            for path in matching_files(patterns, None, SUFFIXES)
        ]

    files: dict[Split, Sequence[DocumentFile]] = {"train": of(given.files, division=division)}
    if given.val:
        files["val"] = of(given.val)
    if given.test:
        files["test"] = of(given.test)
    return files


def _chosen(place: Path) -> Any:
    """The tokenizer of texts in a folder: saved by itself, with a run, or with a published model."""
    from omniformer_tokenizers.text.base import TextTokenizer

    from omniformer.data.tokenizing import text_tokenizer
    from omniformer.folder import load

    try:
        return text_tokenizer(place)
    except FileNotFoundError:
        predictor = load(place)
    found = [*predictor.tokenizers.values()]
    found += [each for member in predictor.members.values() for each in member.tokenizers.values()]
    texts = {each.digest: each for each in found if isinstance(each, TextTokenizer)}
    if len(texts) != 1:
        raise ValueError(f"{place} has {len(texts)} tokenizers of texts; give the folder of one, below its tokenizers/")
    return next(iter(texts.values()))


def _tell(looked: "Looked") -> None:
    """Says what was passed over."""
    if looked.empty:
        print(f"{looked.empty} document(s) without a letter are passed over", file=sys.stderr)
    for error in looked.bad[:_SHOWN]:
        print(f"skipped: {error}", file=sys.stderr)
    if len(looked.bad) > _SHOWN:
        print(f"and {len(looked.bad) - _SHOWN} more that cannot be read", file=sys.stderr)


def _table(written: "Mapping[Split, Corpus]", looked: "Looked", seconds: float) -> None:
    from rich.table import Table

    table = Table("split", *(("documents", "characters", "tokens", "characters a token")), title_justify="left")
    for split, corpus in written.items():
        n, characters = len(corpus.tokens) - len(corpus), looked.characters[split]
        table.add_row(split, f"{len(corpus):,}", f"{characters:,}", f"{n:,}", f"{characters / max(n, 1):.2f}")
    show(table)
    total = sum(len(corpus.tokens) * corpus.tokens.itemsize for corpus in written.values())
    print(f"{total / 1e6:,.1f} MB of ids in {seconds:,.1f} s")


class _Progress:
    """A bar on a terminal, nothing elsewhere; called with how many characters more are done."""

    def __init__(self, what: str, total: int | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[mb]}"),
        )
        console = Console(stderr=True)
        self.bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task(what, total=total, mb="")
        self.done, self.shown = 0, 0

    def __call__(self, characters: int) -> None:
        self.done += characters
        if self.done - self.shown >= 1_000_000:
            self.shown = self.done
            self.bar.update(self.task, completed=self.done, mb=f"{self.done // 1_000_000} million characters")

    def __enter__(self) -> "_Progress":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


if __name__ == "__main__":
    main()
