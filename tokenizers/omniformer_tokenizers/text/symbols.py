"""Text as plain symbols: the bytes of UTF-8, characters, words."""

import json
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from omniformer_tokenizers.files import read_text
from omniformer_tokenizers.ranges import Count
from omniformer_tokenizers.text.base import (
    END_OF_TEXT,
    OwnVocabulary,
    ids_within,
    text_tokens,
    training_texts,
    without_surrogates,
)
from omniformer_tokenizers.tokens import Tokens

UNKNOWN = "<|unknown|>"
SYMBOLS_FILE = "symbols.json"
_WORDS = re.compile(r"\w+|[^\w\s]")


def _pairs(places: list[tuple[int, int]]) -> Tensor:
    return torch.tensor(places, dtype=torch.int64).reshape(-1, 2)


class ByteTokenizer(OwnVocabulary):
    """One token for each byte of UTF-8 (ByT5, Xue et al. 2022): ids 0 to 255, then the special tokens.

    Needs no training and no library. Lone surrogates become U+FFFD; `replaced` counts them.

    Args:
        special_tokens: names of ids that text never produces, from 256 on.

    Raises:
        ValueError: a special token is named twice.

    Example:
        >>> tokenizer = ByteTokenizer()
        >>> tokenizer("hé").values.tolist(), tokenizer.end_of_text
        ([104, 195, 169], 256)
    """

    @property
    def vocab_size(self) -> int:
        """The number of ids."""
        return 256 + len(self.special_tokens)

    @property
    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes of text that each id stands for; none for a special token."""
        return tuple(bytes([i]) if i < 256 else b"" for i in range(self.vocab_size))

    def __call__(self, raw: str) -> Tokens:
        """The tokens of one text."""
        return text_tokens(torch.tensor(list(self._clean(raw).encode()), dtype=torch.int64))

    def offsets(self, raw: str) -> Tensor:
        """Where each token of a text begins and ends, in characters; each byte of a character spans all of it.

        Shapes:
            int64 `[tokens, 2]`.

        Example:
            >>> ByteTokenizer().offsets("hé").tolist()
            [[0, 1], [1, 2], [1, 2]]
        """
        text = without_surrogates(raw)[0]
        return _pairs([(i, i + 1) for i, character in enumerate(text) for _ in character.encode()])

    def decode(self, tokens: Tokens | Tensor | Iterable[int]) -> str:
        """The text of tokens or ids, exactly; special tokens are left out, broken characters show as U+FFFD.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        return bytes([i for i in ids_within(tokens, self.vocab_size) if i < 256]).decode("utf-8", errors="replace")

    def _special_id(self, name: str) -> int:
        return 256 + self.special_tokens.index(name)


class SymbolTokenizer(OwnVocabulary):
    """Text as a sequence of symbols from a list that is learned from text; what is not on the list is unknown.

    The ids are the special tokens, then `<|unknown|>`, then the symbols: the most frequent first, equal ones in
    alphabetical order.

    Args:
        vocab_size: the most ids, special tokens and `<|unknown|>` included; None keeps every symbol of the training
            text.
        special_tokens: names of ids that text never produces.

    Raises:
        ValueError: `vocab_size` has no room for one symbol, or a special token is named twice.
    """

    def __init__(self, *, vocab_size: Count | None = None, special_tokens: tuple[str, ...] = (END_OF_TEXT,)) -> None:
        super().__init__(special_tokens=special_tokens)
        reserved = len(self.special_tokens) + 1
        if UNKNOWN in self.special_tokens:
            raise ValueError(f"special_tokens={self.special_tokens} names {UNKNOWN}, which is there already")
        if vocab_size is not None and vocab_size <= reserved:
            raise ValueError(f"vocab_size={vocab_size} has no room for symbols; give {reserved + 1} or more")
        self.max_vocab_size = vocab_size
        self._symbols: list[str] | None = None
        self._ids: dict[str, int] = {}

    @abstractmethod
    def split(self, text: str) -> list[str]:
        """The symbols of a text, in order."""

    @abstractmethod
    def join(self, symbols: list[str]) -> str:
        """The text of symbols."""

    @property
    def fitted(self) -> bool:
        """Whether the list of symbols is known: after `fit` or `from_pretrained`."""
        return self._symbols is not None

    @property
    def vocab_size(self) -> int:
        """The number of ids."""
        return len(self.special_tokens) + 1 + len(self._known())

    @property
    def unknown(self) -> int:
        """The id of symbols that are not on the list."""
        return len(self.special_tokens)

    def fit(self, raws: Iterable[str]) -> Self:
        """Learns the list of symbols from texts, which are read once and counted, never kept.

        Raises:
            TypeError: one of the texts is not a string.
        """
        counts: Counter[str] = Counter()
        for text in training_texts(raws):
            counts.update(self.split(text))
        ranked = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
        self._use(ranked if self.max_vocab_size is None else ranked[: self.max_vocab_size - self.unknown - 1])
        return self

    def __call__(self, raw: str) -> Tokens:
        """The tokens of one text."""
        self._known()
        ids = [self._ids.get(symbol, self.unknown) for symbol in self.split(self._clean(raw))]
        return text_tokens(torch.tensor(ids, dtype=torch.int64))

    def decode(self, tokens: Tokens | Tensor | Iterable[int]) -> str:
        """The text of tokens or ids; special tokens are left out, unknown ones show as U+FFFD.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        table = ["\ufffd", *self._known()]
        ids = ids_within(tokens, self.vocab_size)
        return self.join([table[i - self.unknown] for i in ids if i >= self.unknown])

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"vocab_size": self.max_vocab_size, **super().config()}

    def _special_id(self, name: str) -> int:
        return self.special_tokens.index(name)

    def _known(self) -> list[str]:
        if self._symbols is None:
            raise ValueError(f"{type(self).__name__} has no vocabulary yet; call fit(texts) or load one")
        return self._symbols

    def _use(self, symbols: list[str]) -> None:
        self._symbols = symbols
        self._ids = {symbol: i for i, symbol in enumerate(symbols, start=self.unknown + 1)}

    def _save_files(self, folder: Path) -> None:
        (folder / SYMBOLS_FILE).write_text(json.dumps(self._known()), encoding="utf-8")

    def _load_files(self, folder: Path) -> None:
        path = folder / SYMBOLS_FILE
        try:
            symbols = json.loads(read_text(path))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not valid JSON: {error}") from error
        if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
            raise ValueError(f"{path} does not hold a list of symbols")
        self._use(symbols)


class CharacterTokenizer(SymbolTokenizer):
    """One token for each character; exact for text of characters that occurred in training.

    Args:
        vocab_size: the most ids, special tokens and `<|unknown|>` included; None keeps every character.
        special_tokens: names of ids that text never produces.

    Raises:
        ValueError: `vocab_size` has no room for one character, or a special token is named twice.

    Example:
        >>> tokenizer = CharacterTokenizer().fit(["to be or not to be"])
        >>> tokenizer.decode(tokenizer("bet")), tokenizer.decode(tokenizer("bat"))
        ('bet', 'b�t')
    """

    @property
    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes of text that each id stands for; none for special tokens and for unknown, so that a model gets no
        credit for characters that it cannot tell.
        """
        return (*(b"" for _ in range(self.unknown + 1)), *(symbol.encode() for symbol in self._known()))

    def split(self, text: str) -> list[str]:
        """The characters."""
        return list(text)

    def join(self, symbols: list[str]) -> str:
        """The text."""
        return "".join(symbols)

    def offsets(self, raw: str) -> Tensor:
        """Where each token of a text begins and ends, in characters.

        Shapes:
            int64 `[tokens, 2]`.
        """
        return _pairs([(i, i + 1) for i in range(len(without_surrogates(raw)[0]))])


class WordTokenizer(SymbolTokenizer):
    """One token for each word and each punctuation mark.

    White space is not kept: `decode` puts one space between tokens. Words outside the vocabulary become unknown.

    Args:
        vocab_size: the most ids, special tokens and `<|unknown|>` included; None keeps every word.
        special_tokens: names of ids that text never produces.
        lowercase: count "The" and "the" as one word.

    Raises:
        ValueError: `vocab_size` has no room for one word, or a special token is named twice.

    Example:
        >>> tokenizer = WordTokenizer(lowercase=True).fit(["The cat sat.", "The dog sat."])
        >>> tokenizer.decode(tokenizer("the cat ran."))
        'the cat � .'
    """

    def __init__(
        self,
        *,
        vocab_size: Count | None = None,
        special_tokens: tuple[str, ...] = (END_OF_TEXT,),
        lowercase: bool = False,
    ) -> None:
        super().__init__(vocab_size=vocab_size, special_tokens=special_tokens)
        self.lowercase = lowercase

    def split(self, text: str) -> list[str]:
        """The words and marks."""
        return _WORDS.findall(text.lower() if self.lowercase else text)

    def join(self, symbols: list[str]) -> str:
        """The words with one space between them."""
        return " ".join(symbols)

    def offsets(self, raw: str) -> Tensor:
        """Where each token of a text begins and ends, in characters of the text as it was given.

        Shapes:
            int64 `[tokens, 2]`.

        Example:
            >>> WordTokenizer().fit(["a cat"]).offsets("a  cat!").tolist()
            [[0, 1], [3, 6], [6, 7]]
        """
        text = without_surrogates(raw)[0]
        if not self.lowercase:
            return _pairs([word.span() for word in _WORDS.finditer(text)])
        # Some characters are longer in lower case, such as the dotted capital I of Turkish.
        origin = [i for i, character in enumerate(text) for _ in character.lower()]
        words = _WORDS.finditer(text.lower())
        return _pairs([(origin[word.start()], origin[word.end() - 1] + 1) for word in words])

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().config() | {"lowercase": self.lowercase}
