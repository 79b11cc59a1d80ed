"""What all text tokenizers share: strings that can be stored, ids in order, special tokens, where a text ends."""

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from omniformer_tokenizers.tokenizer import Tokenizer
from omniformer_tokenizers.tokens import Tokens

END_OF_TEXT = "<|endoftext|>"
_SURROGATE = re.compile("[\ud800-\udfff]")


def text_tokens(ids: Tensor, modality: str = "text") -> Tokens:
    """`Tokens` of a sequence of ids, at positions 0, 1, 2, ..."""
    return Tokens(values=ids, positions=torch.arange(len(ids), dtype=torch.float32)[:, None], modality=modality)


def without_surrogates(text: str) -> tuple[str, int]:
    """The text with each lone surrogate, which no encoding can store, as U+FFFD; and how many there were.

    Raises:
        TypeError: `text` is not a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"received {type(text).__name__} where text was expected; pass a str")
    return (text, 0) if text.isascii() else _SURROGATE.subn("\ufffd", text)


def training_texts(raws: Iterable[str]) -> Iterator[str]:
    """The texts from which a vocabulary is learned, one after the other, without surrogates.

    Raises:
        TypeError: it is one string, or one of the texts is not a string.
    """
    if isinstance(raws, str):
        raise TypeError("fit() received one string; pass an iterable of texts, for example a list")
    return (without_surrogates(raw)[0] for raw in raws)


def ids_within(tokens: Tokens | Tensor | Iterable[int], vocab_size: int) -> list[int]:
    """The ids of tokens, once it is sure that the vocabulary has them.

    Raises:
        ValueError: an id is outside the vocabulary.
    """
    ids = tokens.values if isinstance(tokens, Tokens) else tokens
    ids = ids.tolist() if isinstance(ids, Tensor) else list(ids)
    if wrong := [i for i in ids if not 0 <= i < vocab_size]:
        raise ValueError(f"id {wrong[0]} is outside the vocabulary of {vocab_size} ids")
    return ids


class TextTokenizer(Tokenizer):
    """Text as ids. Lone surrogates become U+FFFD; `replaced` counts them."""

    modality = "text"
    replaced = 0

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """The number of ids."""

    @property
    @abstractmethod
    def end_of_text(self) -> int:
        """The id that ends a document; no text produces it."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """`vocab_size` and the number of position `axes`."""
        return {"vocab_size": self.vocab_size, "axes": 1}

    def special_id(self, name: str) -> int:
        """The id of the special token `name`.

        Raises:
            ValueError: there is no such special token.
        """
        names: tuple[str, ...] = self.special_tokens  # pyright: ignore[reportAttributeAccessIssue]
        if name not in names:
            raise ValueError(f"{name!r} is not a special token of this vocabulary; it has {names[:20]}")
        return self._special_id(name)

    @abstractmethod
    def _special_id(self, name: str) -> int:
        """The id of a special token that there is."""

    def _clean(self, raw: str) -> str:
        text, replaced = without_surrogates(raw)
        self.replaced += replaced
        return text


class OwnVocabulary(TextTokenizer):
    """A vocabulary that is made here, with special tokens for the model's own use: text never produces them.

    Args:
        special_tokens: their names.

    Raises:
        ValueError: a special token is named twice.
    """

    def __init__(self, *, special_tokens: tuple[str, ...] = (END_OF_TEXT,)) -> None:
        if len(set(special_tokens)) < len(special_tokens):
            raise ValueError(f"special_tokens={tuple(special_tokens)} names a token twice")
        self.special_tokens = tuple(special_tokens)

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

    @abstractmethod
    def offsets(self, raw: str) -> Tensor:
        """Where each token of a text begins and ends, in characters: from which to before which.

        Shapes:
            int64 `[tokens, 2]`.
        """

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"special_tokens": list(self.special_tokens)}
