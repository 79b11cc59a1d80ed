"""From stretches of a text to its tokens: answers that stand in it, and the classes of its words."""

from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from omniformer_tokenizers import Tokenizer
from torch import Tensor

from omniformer.data.source import Marks
from omniformer.generation.places import Places, places_of

_NAMED = 5  # samples


class MarkedTokens:
    """Which tokens of a text the marks are of, counted from 0 in the text.

    Args:
        marks: of the text.
        content: the text, or a pair of texts; None where the sample has none, and nothing is marked.
        tokenizer: of the text.

    A word of which the tokenizer leaves nothing, such as a variation selector behind an emoji, has no class to learn;
    `without` holds such words.

    Raises:
        ValueError: the tokenizer does not say where its tokens stand, or none stands where an answer is marked.

    Example:
        >>> from omniformer_tokenizers import BPETokenizer
        >>> text = BPETokenizer(vocab_size=257).fit(["a cat"])
        >>> targets, of_tokens = MarkedTokens(Marks(span=(2, 5)), "a cat", text).targets(start=1, n_tokens=6)
        >>> targets["span"].tolist()
        [3, 5]
    """

    def __init__(self, marks: Marks, content: Any, tokenizer: Tokenizer) -> None:
        self._places = _places(content, tokenizer) if self._is_marked(marks) else None
        self.span = None if marks.span is None else self._span(*marks.span)
        self.words: list[tuple[int, int]] | None = None if marks.words is None else []
        self.without: list[str] = []
        for begin, end, label in marks.words or ():
            self._classify(begin, end, label)

    def _is_marked(self, marks: Marks) -> bool:
        return bool(marks.words) or (marks.span is not None and marks.span[0] >= 0)

    def _classify(self, begin: int, end: int, label: int) -> None:
        assert self.words is not None
        assert self._places is not None
        if found := self._tokens(begin, end):
            self.words.append((found[0], label))
        elif label >= 0:
            self.without.append(self._places.texts[-1][begin:end])

    def _span(self, begin: int, end: int) -> tuple[int, int]:
        if begin < 0 or self._places is None:
            return -1, -1
        if found := self._tokens(begin, end):
            return found[0], found[-1]
        raise ValueError(f"no token stands at the characters {begin}..{end}, of which something is to be predicted")

    def _tokens(self, begin: int, end: int) -> list[int]:
        """The tokens that reach into a stretch."""
        assert self._places is not None
        offsets = self._places.offsets
        return (self._places.answers & (offsets[:, 0] < end) & (offsets[:, 1] > begin)).nonzero()[:, 0].tolist()

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


class TokenlessWords:
    """Says which words have no token, once of each of the first samples.

    Args:
        name: of the data set.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._told: set[str] = set()

    def told(self, sample: str, marked: MarkedTokens) -> MarkedTokens:
        """Warns of a sample's words that have no token, where it has such.

        Args:
            sample: its id.
            marked: its words; given back.
        """
        words = marked.without
        if words and sample not in self._told and len(self._told) <= _NAMED:
            self._told.add(sample)
            of, shown = len(words) + len(marked.words or ()), ", ".join(map(ascii, words[:3]))
            rank_zero_warn(
                f"sample {sample!r} of {self.name}: its tokenizer leaves nothing of {len(words)} of {of} words "
                f"({shown}{', ...' * (len(words) > 3)}), which have no part in training and scores"
                if len(self._told) <= _NAMED
                else f"{self.name}: words of further samples have no token either; they are not named"
            )
        return marked


def _places(content: Any, tokenizer: Tokenizer) -> Places:
    places = places_of(content, {"text": tokenizer})
    if places is None:
        raise ValueError(
            f"{type(tokenizer).__name__} does not say where its tokens stand in a {type(content).__name__}, which "
            "spans and classes of words need; choose tokenizer=bpe, tokenizer=words or tokenizer=spelled_words (of one "
            "text), or a published model"
        )
    return places
