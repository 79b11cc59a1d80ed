"""Text as the bytes of UTF-8."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from omniformer_tokenizers.text import END_OF_TEXT, text_tokens, without_surrogates
from omniformer_tokenizers.tokenizer import Tokenizer
from omniformer_tokenizers.tokens import Tokens


class ByteTokenizer(Tokenizer):
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

    modality = "text"

    def __init__(self, *, special_tokens: tuple[str, ...] = (END_OF_TEXT,)) -> None:
        if len(set(special_tokens)) < len(special_tokens):
            raise ValueError(f"special_tokens={tuple(special_tokens)} names a token twice")
        self.special_tokens = tuple(special_tokens)
        self.replaced = 0

    @property
    def vocab_size(self) -> int:
        """The number of ids."""
        return 256 + len(self.special_tokens)

    @property
    def facts(self) -> Mapping[str, Any]:
        """`vocab_size` and the number of position `axes`."""
        return {"vocab_size": self.vocab_size, "axes": 1}

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
        return 256 + self.special_tokens.index(name)

    @property
    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes of text that each id stands for; none for a special token."""
        return tuple(bytes([i]) if i < 256 else b"" for i in range(self.vocab_size))

    def __call__(self, raw: str) -> Tokens:
        """The tokens of one text."""
        text, replaced = without_surrogates(raw)
        self.replaced += replaced
        return text_tokens(torch.tensor(list(text.encode()), dtype=torch.int64))

    def decode(self, tokens: Tokens | Tensor | Iterable[int]) -> str:
        """The text of tokens or ids, exactly; special tokens are left out, broken characters show as U+FFFD.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        ids = tokens.values if isinstance(tokens, Tokens) else tokens
        ids = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        if wrong := [i for i in ids if not 0 <= i < self.vocab_size]:
            raise ValueError(f"id {wrong[0]} is outside the vocabulary of {self.vocab_size} ids")
        return bytes([i for i in ids if i < 256]).decode("utf-8", errors="replace")

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"special_tokens": list(self.special_tokens)}
