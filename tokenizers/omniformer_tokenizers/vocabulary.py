"""What tokenizers with a plain list of symbols share: special ids, an unknown id, saving, positions."""

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from omniformer_tokenizers.files import read_text
from omniformer_tokenizers.text import END_OF_TEXT, text_tokens, without_surrogates
from omniformer_tokenizers.tokenizer import Tokenizer
from omniformer_tokenizers.tokens import Tokens

UNKNOWN = "<|unknown|>"
SYMBOLS_FILE = "symbols.json"


class SymbolTokenizer(Tokenizer):
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

    modality = "text"

    def __init__(self, *, vocab_size: int | None = None, special_tokens: tuple[str, ...] = (END_OF_TEXT,)) -> None:
        self.special_tokens = tuple(special_tokens)
        reserved = len(self.special_tokens) + 1
        if len({*special_tokens, UNKNOWN}) < reserved:
            raise ValueError(f"special_tokens={self.special_tokens} names a token twice, or {UNKNOWN}")
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
    def facts(self) -> Mapping[str, Any]:
        """`vocab_size` and the number of position `axes`."""
        return {"vocab_size": self.vocab_size, "axes": 1}

    @property
    def unknown(self) -> int:
        """The id of symbols that are not on the list."""
        return len(self.special_tokens)

    @property
    def end_of_text(self) -> int:
        """The id of `<|endoftext|>`."""
        return self.special_id(END_OF_TEXT)

    @property
    def start(self) -> int:
        """The id from which a model begins to write: end-of-text, which also stands between documents."""
        return self.end_of_text

    @property
    def stop(self) -> int:
        """The id with which a model ends a text: end-of-text."""
        return self.end_of_text

    def special_id(self, name: str) -> int:
        """The id of the special token `name`.

        Raises:
            ValueError: there is no such special token.
        """
        if name not in self.special_tokens:
            raise ValueError(f"{name!r} is not a special token of this vocabulary; it has {self.special_tokens}")
        return self.special_tokens.index(name)

    def fit(self, raws: Iterable[str]) -> Self:
        """Learns the list of symbols from texts, which are read once and counted, never kept.

        Raises:
            TypeError: one of the texts is not a string.
        """
        if isinstance(raws, str):
            raise TypeError("fit() received one string; pass an iterable of texts, for example a list")
        counts: Counter[str] = Counter()
        for raw in raws:
            counts.update(self.split(without_surrogates(raw)[0]))
        ranked = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
        self._use(ranked if self.max_vocab_size is None else ranked[: self.max_vocab_size - self.unknown - 1])
        return self

    def __call__(self, raw: str) -> Tokens:
        """The tokens of one text."""
        self._known()
        ids = [self._ids.get(symbol, self.unknown) for symbol in self.split(without_surrogates(raw)[0])]
        return text_tokens(torch.tensor(ids, dtype=torch.int64))

    def decode(self, tokens: Tokens | Tensor | Iterable[int]) -> str:
        """The text of tokens or ids; special tokens are left out, unknown ones show as U+FFFD.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        ids = tokens.values if isinstance(tokens, Tokens) else tokens
        ids = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        if wrong := [i for i in ids if not 0 <= i < self.vocab_size]:
            raise ValueError(f"id {wrong[0]} is outside the vocabulary of {self.vocab_size} ids")
        table = ["\ufffd", *self._known()]
        return self.join([table[i - self.unknown] for i in ids if i >= self.unknown])

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"vocab_size": self.max_vocab_size, "special_tokens": list(self.special_tokens)}

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
