"""Vocabularies of other libraries: GPT-2's two files, and tiktoken's one."""

import base64
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from omniformer_tokenizers._checks import need
from omniformer_tokenizers.files import lines_of, read_text
from omniformer_tokenizers.text.base import END_OF_TEXT
from omniformer_tokenizers.text.byte_pairs import BPETokenizer
from omniformer_tokenizers.text.tokenizer_json import character_of_byte, lossless

GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def from_gpt2(
    vocab: str | Path, merges: str | Path, *, special_tokens: tuple[str, ...] = (END_OF_TEXT,)
) -> BPETokenizer:
    """The tokenizer of GPT-2's `vocab.json` and `merges.txt`.

    Args:
        vocab: JSON object from token to id.
        merges: one merge a line, the two parts with a space between, after an optional line that starts with #version.
        special_tokens: those tokens of the vocabulary that text must not produce; new ones get the next ids.

    Raises:
        ValueError: a file is not of this kind, a merge makes a token that is not there, or a byte is missing.
    """
    try:
        table = json.loads(read_text(vocab))
    except ValueError as error:
        raise ValueError(f"{vocab} is not valid JSON: {error}") from error
    if not isinstance(table, dict) or not all(isinstance(i, int) for i in table.values()):
        raise ValueError(f"{vocab} is not a JSON object from token to id")
    pairs = []
    for number, line in enumerate(lines_of(read_text(merges)), start=1):
        if line and not line.startswith("#version"):
            parts = tuple(line.split(" "))
            if len(parts) != 2:
                raise ValueError(f"{merges}, line {number}: expected two parts with one space between, not {line!r}")
            pairs.append(parts)
    return _assembled(table, pairs, special_tokens, f"{vocab}, {merges}")


def from_tiktoken(
    path: str | Path, *, special_tokens: tuple[str, ...] = (END_OF_TEXT,), pattern: str = GPT2_PATTERN
) -> BPETokenizer:
    """The tokenizer of a `.tiktoken` file: one token a line, in base64, and its rank, which is also its id.

    Args:
        path: the file.
        special_tokens: get the ids after the last rank.
        pattern: the regular expression that cuts text into words; tiktoken keeps it in code, not in the file.

    Raises:
        ValueError: the file is not of this kind, or a byte is missing.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(lines_of(read_text(path)), start=1):
        try:
            token, rank = line.split(" ")
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: expected a base64 token and its rank: {error}") from error
    show = character_of_byte()
    shown = {token: "".join(show[byte] for byte in token) for token in ranks}
    ordered = sorted((token for token in ranks if len(token) > 1), key=ranks.__getitem__)
    pairs = [tuple(shown[part] for part in _last_merge(token, ranks)) for token in ordered]
    return _assembled({shown[token]: rank for token, rank in ranks.items()}, pairs, special_tokens, str(path), pattern)


def _last_merge(token: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    """The two tokens that make `token`: what is left when its bytes are merged by all lower ranks."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        joins = [(ranks.get(a + b, len(ranks)), i) for i, (a, b) in enumerate(pairwise(parts))]
        rank, i = min(joins)
        if rank >= ranks[token]:
            raise ValueError(f"token {token!r} of rank {ranks[token]} is not made of tokens of lower rank")
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts


def _assembled(
    table: dict[str, int], pairs: list[Any], special_tokens: tuple[str, ...], source: str, pattern: str = GPT2_PATTERN
) -> BPETokenizer:
    need("tokenizers", "byte-pair encoding")
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

    from tokenizers import AddedToken, Regex, decoders, models
    from tokenizers import Tokenizer as Model

    try:
        model = Model(models.BPE(table, pairs))
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"{source}: not a byte-pair vocabulary: {error}") from error
    own = pattern == GPT2_PATTERN
    cut = ByteLevel(add_prefix_space=False, use_regex=own)
    model.pre_tokenizer = cut if own else Sequence([Split(Regex(pattern), behavior="isolated"), cut])  # pyright: ignore[reportAttributeAccessIssue]
    model.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    model.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special_tokens])
    return BPETokenizer.from_model(lossless(model, source))
