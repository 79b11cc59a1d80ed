"""Files of the library sentencepiece as the vocabulary of a `tokenizer.json`, by which words also have offsets."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The kinds of pieces and of models, as the library numbers them.
_UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE, _UNIGRAM = 2, 3, 4, 6, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """What a file of sentencepiece says ([Kudo and Richardson 2018](https://arxiv.org/abs/1808.06226)).

    Args:
        pieces: each with its score, in the order of ids.
        kinds: of each piece, as the library numbers them.
        charsmap: how characters are normalised, in the library's own form; empty for not at all.
        prefixed: whether a blank is put before every text.
    """

    pieces: tuple[tuple[str, float], ...]
    kinds: tuple[int, ...]
    charsmap: bytes
    prefixed: bool

    @property
    def special(self) -> list[str]:
        """The pieces that no text gives, and that which stands for what is unknown."""
        kinds = zip(self.pieces, self.kinds, strict=True)
        return [piece for (piece, _), kind in kinds if kind in (_CONTROL, _UNKNOWN)]


def read_pieces(file: bytes) -> Pieces:
    """What a file says, without the library.

    Args:
        file: the content, a message in the wire format of protocol buffers.

    Raises:
        ValueError: it is damaged, or would cut text otherwise as a `tokenizer.json`: it is of another kind than
            Unigram, has pieces that are never cut or pieces of bytes, or keeps repeated blanks.

    Example:
        >>> read_pieces(b"")
        Traceback (most recent call last):
        ValueError: not a file of sentencepiece: no pieces
    """
    pieces: list[tuple[str, float]] = []
    kinds: list[int] = []
    trainer, rules = b"", b""
    for field, value in _fields(file):
        if field == 1:
            said = dict(_fields(value))
            pieces.append((said[1].decode(), struct.unpack("<f", said.get(2, bytes(4)))[0]))
            kinds.append(said.get(3, 1))
        elif field == 2:
            trainer = value
        elif field == 3:
            rules = value
    if not pieces:
        raise ValueError("not a file of sentencepiece: no pieces")
    norm = dict(_fields(rules))
    _refuse(dict(_fields(trainer)).get(3, _UNIGRAM), kinds, squeezed=norm.get(4, 1))
    return Pieces(
        pieces=tuple(pieces),
        kinds=tuple(kinds),
        charsmap=norm.get(2, b""),
        prefixed=bool(norm.get(3, 1)),
    )


def _refuse(model: int, kinds: list[int], *, squeezed: int) -> None:
    """Raises where the two formats would cut some text otherwise."""
    if model != _UNIGRAM:
        raise ValueError(f"its pieces are of kind {model}; accepted: {_UNIGRAM}, Unigram")
    for kind, name in ((_USER_DEFINED, "defined by hand"), (_BYTE, "bytes")):
        if kind in kinds:
            raise ValueError(
                f"{kinds.count(kind)} of its pieces are {name}, which is not read; put a tokenizer.json there"
            )
    if not squeezed:
        raise ValueError("it keeps repeated blanks, which is not read; put a tokenizer.json there")


def unigram(path: Path, settings: Mapping[str, Any]) -> Any:
    """A `tokenizers.Tokenizer` that cuts text as a file of sentencepiece says, with its special pieces.

    Args:
        path: the file.
        settings: the content of `tokenizer_config.json`: `do_lower_case`, `split_by_punct`.

    Raises:
        ValueError: as for `read_pieces`.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    said = read_pieces(path.read_bytes())
    unknown = said.kinds.index(_UNKNOWN) if _UNKNOWN in said.kinds else None
    model: Any = Tokenizer(models.Unigram(list(said.pieces), unknown))
    rules: list[Any] = [normalizers.Lowercase()] if settings.get("do_lower_case") else []
    rules += [normalizers.Precompiled(said.charsmap)] if said.charsmap else []
    rules += [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    model.normalizer = normalizers.Sequence(rules)
    blanks: Any = {"prepend_scheme": "always" if said.prefixed else "never"}
    cuts: list[Any] = [pre_tokenizers.Punctuation("isolated")] if settings.get("split_by_punct") else []
    model.pre_tokenizer = pre_tokenizers.Sequence([*cuts, pre_tokenizers.Metaspace(**blanks)])
    model.decoder = decoders.Metaspace(**blanks)
    model.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in said.special])
    return model


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message by number: whole numbers, and bytes of all else."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        field, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(message, place)
        elif wire in (1, 2, 5):
            size, place = (8 if wire == 1 else 4, place) if wire != 2 else _varint(message, place)
            value, place = message[place : place + size], place + size
        else:
            raise ValueError(f"not a file of sentencepiece: a field of wire type {wire}")
        if place > len(message):
            raise ValueError("not a file of sentencepiece, or cut short")
        yield field, value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A whole number in groups of seven bits, the lowest first; and the place behind it."""
    value = shift = 0
    while place < len(message) and shift < 64:
        value |= (message[place] & 127) << shift
        place, shift = place + 1, shift + 7
        if message[place - 1] < 128:
            return value, place
    raise ValueError("not a file of sentencepiece, or cut short")
