"""Program text to ids, with line breaks and indentation kept cheap."""

import re
from typing import Any

from omniformer_tokenizers.text.byte_pairs import BPETokenizer
from omniformer_tokenizers.text.word_cache import WordCache

# A line break with the indentation after it, but for one space that joins what follows; signs, together with a line
# break after them; a name; up to three digits; other white space. Only ranges, no classes such as \w: every library
# then reads the pattern in the same way. All beyond ASCII counts as a letter.
_BREAK = "\\r?\\n(?:[ \\t]*(?![^ ])|\\t*)"
_PATTERN = (
    f"{_BREAK}| ?[A-Za-z_\u0080-\U0010ffff]+| ?[0-9]{{1,3}}| ?[!-/:-@\\[-\\^`{{-~]+(?:{_BREAK})?"
    "|[\\x00-\\x09\\x0b-\\x1f\\x7f ]+(?![^ ])|[\\x00-\\x09\\x0b-\\x1f\\x7f ]+"
)
_WORDS = re.compile(_PATTERN)


class CodeTokenizer(BPETokenizer):
    r"""Byte-level byte-pair encoding for program text.

    A line break, the indentation after it and the signs before it stay together, so that after training `):` and the
    start of an indented line are one token; names keep their underscores. Otherwise as `BPETokenizer`, whose saved form
    and methods it shares.

    Args:
        vocab_size: the most ids that training may make, special tokens and the 256 bytes included.
        special_tokens: names of ids that text never produces.

    Raises:
        ValueError: `vocab_size` has no room for the bytes and the special tokens, or a special token is named twice.

    Example:
        >>> program = "def f(x):\n        return x\n"
        >>> tokenizer = CodeTokenizer(vocab_size=400).fit([program] * 9)
        >>> [tokenizer.decode([i]) for i in tokenizer("(x):\n        return").values.tolist()]
        ['(', 'x', '):\n       ', ' return']
    """

    def _splitter(self) -> Any:
        from tokenizers import Regex, pre_tokenizers

        split = pre_tokenizers.Split(Regex(_PATTERN), behavior="isolated")
        return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])

    def _word_cache(self) -> WordCache | None:
        return WordCache(encode=self._encode_slowly, split=_WORDS.findall, border="0")
