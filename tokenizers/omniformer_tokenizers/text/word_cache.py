"""Remembers how words were encoded: most words of a text have been seen before."""

import re
from array import array
from collections.abc import Callable, Iterable, Sequence

import numpy as np

# White space as Unicode and the `tokenizers` library see it; Python's own \s also counts U+001C to U+001F.
_SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"

# GPT-2's words, for text of ASCII characters only.
_ASCII_WORDS = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+", re.ASCII)

# Runs of several of GPT-2's words, for any text. Letters and digits beyond ASCII depend on the Unicode version, white
# space hardly does; and no word of GPT-2 spans the border from another character to white space.
_ANY_WORDS = re.compile(f" ?[^{_SPACE}]+|[{_SPACE}]+(?![^{_SPACE}])|[{_SPACE}]+")


def gpt2_words(text: str) -> list[str]:
    """The text cut into pieces, each of which is one or more whole words of GPT-2's pattern."""
    return (_ASCII_WORDS if text.isascii() else _ANY_WORDS).findall(text)


class WordCache:
    """Encodes texts word by word, each different word once.

    Exact where the encoding of a text is the encodings of its words end to end, as in byte-pair encoding.

    Args:
        encode: the ids of many texts, by the slow way.
        split: cuts a text into words.
        border: a character that is a word of its own beside most words.
        max_characters: memory bound: when the words remembered exceed it, they are forgotten. The default is about
            half a gigabyte at the worst, a tenth of that for ordinary text.
    """

    def __init__(
        self,
        *,
        encode: Callable[[Sequence[str]], list[list[int]]],
        split: Callable[[str], list[str]] = gpt2_words,
        border: str = "\n",
        max_characters: int = 8_000_000,
    ) -> None:
        self._encode = encode
        self._split = split
        self._max_characters = max_characters
        self._ids: dict[str, bytes] = {}
        self._characters = 0
        self._border = border
        (self._border_id,) = encode([border])[0]

    def __call__(self, texts: Iterable[str], dtype: type[np.integer] = np.int64) -> list[np.ndarray]:
        """The ids of each text."""
        words = [self._split(text) for text in texts]
        self._learn(set().union(*words).difference(self._ids))
        # Ids are kept as bytes: joining those is one copy, where a list of numbers is one conversion for each.
        known = self._ids.__getitem__
        ids = [np.frombuffer(b"".join(map(known, text)), np.uint32).astype(dtype) for text in words]
        if self._characters > self._max_characters:
            self._ids.clear()
            self._characters = 0
        return ids

    def _learn(self, words: set[str]) -> None:
        """Encodes words in few long texts: a call for each would cost more than the encoding."""
        border = self._border
        alone = (word for word in words if border not in word)
        joined = [word for word in alone if self._split(border + word + border) == [border, word, border]]
        # Several texts, so that the library can use several threads.
        groups = [joined[i : i + 2000] for i in range(0, len(joined), 2000)]
        for group, ids in zip(groups, self._encode([border.join([*g, ""]) for g in groups]), strict=True):
            self._store(group, _split_at(ids, self._border_id))
        apart = list(words.difference(joined))
        self._store(apart, self._encode(apart))

    def _store(self, words: list[str], ids: list[list[int]]) -> None:
        self._ids.update(zip(words, [array("I", row).tobytes() for row in ids], strict=True))
        self._characters += sum(map(len, words))


def _split_at(ids: list[int], border: int) -> list[list[int]]:
    flat = np.array(ids)
    ends = (flat == border).nonzero()[0].tolist()
    starts = [0, *[end + 1 for end in ends[:-1]]]
    return [ids[start:end] for start, end in zip(starts, ends, strict=True)]
