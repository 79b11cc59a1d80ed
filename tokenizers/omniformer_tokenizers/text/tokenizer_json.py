"""Vocabularies in a `tokenizer.json`: the one reader, and how those of bytes write bytes as characters."""

import json
import math
from collections.abc import Mapping
from typing import Any

FILE = "tokenizer.json"
MAX_GROWTH = 64  # published files: 4
_SEQUENCES = ("normalizers", "pretokenizers", "processors", "decoders")


def read_model(text: str, source: str) -> Any:
    """The `tokenizers.Tokenizer` of a `tokenizer.json`, once it is sure that nothing in it is random, and that no text
    becomes many times as long in it.

    Args:
        text: the content of the file.
        source: names it in messages.

    Raises:
        ValueError: the text is not such a file, merges are dropped at random, or a text would grow without measure.
    """
    from tokenizers import Tokenizer as Model

    try:
        model = Model.from_str(text)
        dropout = getattr(model.model, "dropout", None)
    except BaseException as error:
        if not is_of_library(error):
            raise
        raise ValueError(f"{source} is not a tokenizer.json: {error!r}") from error
    if dropout:
        raise ValueError(f"{source} drops merges at random (dropout={dropout}); ids must be deterministic")
    described = json.loads(model.to_str())
    for stage in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if (times := _growth(described.get(stage))) > MAX_GROWTH:
            raise ValueError(
                f"{source}: its {stage} makes a text up to {times:,} times as long; at most {MAX_GROWTH} are accepted"
            )
    return model


def _growth(step: Any) -> int:
    """How many times as long a text may become in a step of a file, or a short text how long."""
    if not isinstance(step, Mapping):
        return 1
    if inner := next((step[each] for each in _SEQUENCES if each in step), None):
        return math.prod(map(_growth, inner))
    if step.get("type") == "TemplateProcessing":
        marks = {name: len(each["ids"]) for name, each in step["special_tokens"].items()}
        return max(sum(_placed(piece, marks) for piece in step[kind]) for kind in ("single", "pair"))
    pattern = step.get("pattern")
    least = len(pattern["String"]) if isinstance(pattern, Mapping) and "String" in pattern else 1
    return max(1, *(-(-len(str(step.get(name, ""))) // max(least, 1)) for name in ("content", "prepend")))


def _placed(piece: Mapping[str, Any], marks: Mapping[str, int]) -> int:
    return marks.get(piece["SpecialToken"]["id"], 1) if "SpecialToken" in piece else 1


def lossless(model: Any, source: str) -> Any:
    """The same model, once it is sure that its tokens join to every text.

    Args:
        model: a `tokenizers.Tokenizer`.
        source: names it in messages.

    Raises:
        ValueError: it is not byte-level, its ids have gaps, or a byte has no token.
    """
    added, known = model.get_added_tokens_decoder(), set(character_of_byte().values())
    tokens = model.get_vocab()
    if strange := [token for token, i in tokens.items() if i not in added and not known.issuperset(token)]:
        raise ValueError(
            f"{source} is not byte-level: its token {strange[0]!r} holds a character that stands for no byte"
        )
    if (last := max(tokens.values(), default=-1)) >= len(tokens):
        raise ValueError(f"{source} has {len(tokens)} tokens but an id {last}; ids must have no gaps")
    if missing := {bytes([b]) for b in range(256)} - set(byte_table(model)):
        raise ValueError(f"{source} has no token for {len(missing)} of the 256 bytes, so it would lose text")
    return model


def character_of_byte() -> dict[int, str]:
    """GPT-2's printable stand-ins for bytes: printable Latin-1 stands for itself, the rest from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(rest)}


def byte_table(model: Any) -> tuple[bytes, ...]:
    """The bytes that each id of a byte-level model stands for; none for a special token.

    A token that was added by name stands for its name.
    """
    byte_of = {character: byte for byte, character in character_of_byte().items()}
    added, tokens = model.get_added_tokens_decoder(), model.get_vocab()
    table = [b""] * (max(tokens.values(), default=-1) + 1)
    for token, i in tokens.items():
        if i not in added and byte_of.keys() >= set(token):
            table[i] = bytes([byte_of[character] for character in token])
        elif i not in added or not added[i].special:
            table[i] = token.encode()
    return tuple(table)


def is_of_library(error: BaseException) -> bool:
    """Whether an error comes from the library, which raises bare Exception, and panics as a BaseException."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"
