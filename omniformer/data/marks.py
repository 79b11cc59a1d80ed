"""From stretches of a text to its tokens: answers that stand in it, and the classes of its words."""

from typing import Any

import torch
from omniformer_tokenizers import Tokenizer
from torch import Tensor

from omniformer.data.source import Marks
from omniformer.generation.places import Places, places_of


class MarkedTokens:
    """Which tokens of a text the marks are of, counted from 0 in the text.

    Args:
        marks: of the text.
        content: the text, or a pair of texts; None where the sample has none, and nothing is marked.
        tokenizer: of the text.

    Raises:
        ValueError: the tokenizer does not say where its tokens stand, or no token stands where something is marked.

    Example:
        >>> from omniformer_tokenizers import BPETokenizer
        >>> text = BPETokenizer(vocab_size=257).fit(["a cat"])
        >>> targets, of_tokens = MarkedTokens(Marks(span=(2, 5)), "a cat", text).targets(start=1, n_tokens=6)
        >>> targets["span"].tolist()
        [3, 5]
    """

    def __init__(self, marks: Marks, content: Any, tokenizer: Tokenizer) -> None:
        self._places = _places(content, tokenizer) if self._is_marked(marks) else None
        self.span = None if marks.span is None else self._tokens(*marks.span)
        self.words = None if marks.words is None else [(self._tokens(a, b)[0], label) for a, b, label in marks.words]

    def _is_marked(self, marks: Marks) -> bool:
        return bool(marks.words) or (marks.span is not None and marks.span[0] >= 0)

    def _tokens(self, begin: int, end: int) -> tuple[int, int]:
        """The first and the last token that reach into a stretch."""
        if begin < 0 or self._places is None:
            return -1, -1
        offsets = self._places.offsets
        within = (self._places.answers & (offsets[:, 0] < end) & (offsets[:, 1] > begin)).nonzero()
        if not len(within):
            raise ValueError(f"no token stands at the characters {begin}..{end}, of which something is to be predicted")
        return int(within[0, 0]), int(within[-1, 0])

    def targets(self, start: int | None, n_tokens: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Targets of a sample, and of its tokens.

        Args:
            start: how many tokens stand before the text in the sample; None where the text is left out.
            n_tokens: of the sample.
        """
        targets, of_tokens = {}, {}
        if self.span is not None:
            span = torch.tensor(self.span)
            targets["span"] = torch.full_like(span, -1) if start is None or self.span[0] < 0 else span + start
        if self.words is not None:
            label, mask = torch.zeros(n_tokens, dtype=torch.int64), torch.zeros(n_tokens, dtype=torch.bool)
            for token, number in self.words if start is not None else ():
                if number >= 0:
                    label[(start or 0) + token], mask[(start or 0) + token] = number, True
            of_tokens |= {"label": label, "mask": mask}
        return targets, of_tokens


def _places(content: Any, tokenizer: Tokenizer) -> Places:
    places = places_of(content, {"text": tokenizer})
    if places is None:
        raise ValueError(
            f"{type(tokenizer).__name__} does not say where its tokens stand in a {type(content).__name__}, which "
            "spans and classes of words need; choose tokenizer=bpe, tokenizer=words or tokenizer=spelled_words (of one "
            "text), or a published model"
        )
    return places
