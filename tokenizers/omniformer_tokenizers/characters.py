"""Text as characters."""

from omniformer_tokenizers.vocabulary import SymbolTokenizer


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
