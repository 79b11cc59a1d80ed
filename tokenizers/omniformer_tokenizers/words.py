"""Text as words."""

import re
from typing import Any

from omniformer_tokenizers.text import END_OF_TEXT
from omniformer_tokenizers.vocabulary import SymbolTokenizer

_WORDS = re.compile(r"\w+|[^\w\s]")


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
        vocab_size: int | None = None,
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

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().config() | {"lowercase": self.lowercase}
