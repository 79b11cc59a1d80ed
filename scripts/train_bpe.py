"""Trains a byte-level byte-pair tokenizer on one's own files, and saves it as a folder.

    python scripts/train_bpe.py --vocab-size 8192 --output my-tokenizer notes/*.txt more.jsonl

The files are read one after the other, in pieces: memory holds the counts of words, not the text. Text files are cut
at line ends, `.jsonl` files into the texts of their lines.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from omniformer_tokenizers import BPETokenizer, CodeTokenizer, MediaError
from omniformer_tokenizers.text.corpus import read_documents

_PIECE = 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit status."""
    parser = argparse.ArgumentParser(description="Trains a byte-level byte-pair tokenizer on text files.")
    parser.add_argument("files", nargs="+", type=Path, help="text files, and .jsonl files with a text on each line")
    parser.add_argument("--output", required=True, type=Path, help="folder to save the tokenizer in")
    parser.add_argument("--vocab-size", type=int, default=4096, help="most ids to make (default: %(default)s)")
    parser.add_argument("--special", action="append", default=[], help="a special token besides <|endoftext|>")
    parser.add_argument("--code", action="store_true", help="use the rules for program text")
    parser.add_argument("--text-key", default="text", help="key of the text in a .jsonl line (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        kind = CodeTokenizer if options.code else BPETokenizer
        tokenizer = kind(vocab_size=options.vocab_size, special_tokens=("<|endoftext|>", *options.special))
        tokenizer.fit(texts(options.files, options.text_key), show_progress=sys.stderr.isatty())
    except (MediaError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    tokenizer.save_pretrained(options.output)
    print(f"{tokenizer.vocab_size} ids saved in {options.output}")
    return 0


def texts(files: Sequence[Path], text_key: str) -> Iterator[str]:
    """The texts of all files, long ones in pieces that end with a line.

    Raises:
        MediaError: a file cannot be read; names it.
    """
    for path in files:
        if path.suffix == ".jsonl":
            yield from read_documents(path, text_key=text_key)
            continue
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                while lines := file.readlines(_PIECE):
                    yield "".join(lines)
        except (OSError, UnicodeDecodeError) as error:
            raise MediaError(f"{path}: cannot be read as text: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
