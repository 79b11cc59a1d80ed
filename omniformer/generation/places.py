"""Where in a text its tokens stand, and answers that stand there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omniformer_tokenizers import SubwordTokenizer, Tokenizer
from omniformer_tokenizers.files import read_text
from omniformer_tokenizers.text.base import OwnVocabulary
from torch import Tensor

from omniformer.core.layout import Layout
from omniformer.heads.span import best_spans


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Places:
    """Where each token of a text, or of a pair of texts, stands.

    Args:
        texts: the one text, or both.
        text: which of them a token is of; -1 for tokens of no text, such as `[CLS]`.
        offsets: from which to before which character of its text.

    Shapes:
        text int64 `[tokens]`, offsets int64 `[tokens, 2]`.
    """

    texts: tuple[str, ...]
    text: Tensor
    offsets: Tensor

    def cut(self, n: int) -> "Places":
        """The places of a text of which so many tokens are left: the first ones, and those of no text that close it."""
        own = (self.text >= 0).nonzero()
        closing = min(len(self.text) - 1 - int(own.max()), n - 1) if len(own) else 0
        kept = torch.arange(len(self.text))
        kept = kept if len(kept) <= n else torch.cat([kept[: n - closing], kept[len(kept) - closing :]])
        return replace(self, text=self.text[kept], offsets=self.offsets[kept])

    def of(self, first: int, last: int) -> tuple[str, tuple[int, int]]:
        """The text from one token to another of the same text, and where it stands."""
        begin, end = int(self.offsets[first, 0]), int(self.offsets[last, 1])
        return self.texts[int(self.text[first])][begin:end], (begin, end)

    @property
    def answers(self) -> Tensor:
        """Which tokens an answer may be made of: those of the second text of a pair, of the only text otherwise.

        Shapes:
            bool `[tokens]`.
        """
        return self.text == len(self.texts) - 1


def places_of(raw: Any, tokenizers: Mapping[str, Tokenizer]) -> Places | None:
    """Where the tokens of an input stand; None where it is no text, or not only text, or its tokenizer cannot say.

    Args:
        raw: a text, a file of one, or a pair of texts; also as the only entry of a mapping.
        tokenizers: by modality.

    Example:
        >>> from omniformer_tokenizers import BPETokenizer
        >>> text = BPETokenizer(vocab_size=257).fit(["a cat"])
        >>> places_of("a cat", {"text": text}).of(2, 4)
        ('cat', (2, 5))
    """
    if isinstance(raw, Mapping) and len(raw) == 1:
        raw = next(iter(raw.values()))
    tokenizer = next(iter(tokenizers.values())) if len(tokenizers) == 1 else None
    if not isinstance(tokenizer, OwnVocabulary | SubwordTokenizer):
        return None
    raw = read_text(raw) if isinstance(raw, Path) else raw
    texts = raw if isinstance(raw, tuple) else (raw,)
    if not all(isinstance(text, str) for text in texts):
        return None
    if isinstance(tokenizer, SubwordTokenizer):
        return Places(texts=texts, text=tokenizer.which_text(raw), offsets=tokenizer.offsets(raw))
    if len(texts) != 1:
        return None
    offsets = tokenizer.offsets(texts[0])
    return Places(texts=texts, text=torch.zeros(len(offsets), dtype=torch.long), offsets=offsets)


def answer_in(scores: Tensor, allowed: Tensor) -> tuple[int, int, float] | None:
    """The best first and last token of an answer, and the probability of both, among the tokens that it may be made of.

    Shapes:
        scores `[tokens, 2]`, that an answer begins and ends there; allowed bool `[tokens]`.

    Example:
        >>> scores = torch.tensor([[9.0, 9.0], [0.0, 9.0], [9.0, 0.0], [0.0, 9.0]])
        >>> first, last, _ = answer_in(scores, torch.tensor([False, True, True, True]))
        >>> first, last
        (2, 3)
    """
    if not allowed.any():
        return None
    shares = scores.float().masked_fill(~allowed[:, None], -torch.inf).log_softmax(0)
    first, last = best_spans(shares, Layout.from_lengths(len(shares)))[0].tolist()
    return first, last, float((shares[first, 0] + shares[last, 1]).exp())
