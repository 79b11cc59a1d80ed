"""Words that also tell how they are spelled, so that a model knows something of words that it has never seen."""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from omniformer_tokenizers._checks import at_least
from omniformer_tokenizers.ranges import Count
from omniformer_tokenizers.text.base import END_OF_TEXT, without_surrogates
from omniformer_tokenizers.text.symbols import WordTokenizer
from omniformer_tokenizers.tokens import Tokens

LETTERS = "letters"
"""The feature that spells a token."""
BEGIN, END = 1, 2  # bytes of control characters, which no word has but these characters by themselves


class SpelledWordTokenizer(WordTokenizer):
    """One token for each word and each punctuation mark, as `WordTokenizer`, with its spelling as a feature: what
    fastText makes vectors of ([Bojanowski et al. 2016](https://arxiv.org/abs/1607.04606), 3.2), so that unknown words,
    inflections and mistyped ones are near those that were learned.

    The feature `letters` holds the bytes of a word in UTF-8 between a mark of its begin, 1, and of its end, 2; zeros
    follow. Of a longer word the first bytes are kept, without the mark of an end; `cut` counts such words.

    Args:
        letters: bytes of a word that are kept, both marks included; 24 hold words of 22 letters.
        vocab_size: the most ids, special tokens and `<|unknown|>` included; None keeps every word.
        special_tokens: names of ids that text never produces.
        lowercase: count "The" and "the" as one word.

    Raises:
        ValueError: `letters` has no room for one byte between its marks, or what `WordTokenizer` refuses.

    Shapes:
        feature `letters` uint8 `[tokens, letters]`.

    Example:
        >>> tokenizer = SpelledWordTokenizer(letters=6).fit(["a cat"])
        >>> tokens = tokenizer("a hat")
        >>> tokens.values.tolist(), tokens.features["letters"].tolist()
        ([2, 1], [[1, 97, 2, 0, 0, 0], [1, 104, 97, 116, 2, 0]])
    """

    def __init__(
        self,
        *,
        letters: Count = 24,
        vocab_size: Count | None = None,
        special_tokens: tuple[str, ...] = (END_OF_TEXT,),
        lowercase: bool = False,
    ) -> None:
        super().__init__(vocab_size=vocab_size, special_tokens=special_tokens, lowercase=lowercase)
        at_least(3, letters=letters)
        self.letters = letters
        self.cut = 0

    @property
    def facts(self) -> dict[str, Any]:
        """`vocab_size`, the number of position `axes`, and of `letters`."""
        return {**super().facts, "letters": self.letters}

    def __call__(self, raw: str) -> Tokens:
        """The tokens of one text."""
        tokens = super().__call__(raw)
        words = self.split(without_surrogates(raw)[0])
        self.cut += sum(len(word.encode()) + 2 > self.letters for word in words)
        rows = [spelled(word, self.letters) for word in words]
        letters = torch.stack(rows) if rows else torch.zeros(0, self.letters, dtype=torch.uint8)
        return replace(tokens, features={LETTERS: letters})

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().config(), "letters": self.letters}


@lru_cache(maxsize=65_536)
def spelled(word: str, letters: int) -> Tensor:
    """The bytes of a word between its marks, cut or filled with zeros.

    Args:
        word: of which.
        letters: how many bytes.

    Shapes:
        uint8 `[letters]`.

    Example:
        >>> spelled("hat", 4).tolist()
        [1, 104, 97, 116]
    """
    read = bytes([BEGIN, *word.encode(), END])[:letters]
    return torch.tensor([*read, *bytes(letters - len(read))], dtype=torch.uint8)
