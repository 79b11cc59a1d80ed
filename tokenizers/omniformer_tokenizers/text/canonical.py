"""Texts without what SigLIP never saw: capitals, punctuation, blanks one after the other."""

import string
from typing import Any

from omniformer_tokenizers.text.sentencepiece import SentencePieceTokenizer

_PUNCTUATION = str.maketrans("", "", string.punctuation)


class CanonicalTokenizer(SentencePieceTokenizer):
    """A vocabulary of sentencepiece over texts in canonical form: in small letters, without the punctuation of ASCII,
    one blank between words, as SigLIP was trained ([Zhai et al. 2023](https://arxiv.org/abs/2303.15343), their
    published code).

    Args:
        lower_case: whether letters become small.
        **options: those of `SentencePieceTokenizer`.
    """

    def __init__(self, *, lower_case: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.lower_case = lower_case

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().config() | {"lower_case": self.lower_case}

    def _plain(self, text: str) -> list[int]:
        text = text.lower() if self.lower_case else text
        return super()._plain(" ".join(text.translate(_PUNCTUATION).split()))
