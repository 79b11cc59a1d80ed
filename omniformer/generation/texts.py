"""From ids to text while they are being written: whole characters only, and an end at stop sequences."""

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from omniformer_tokenizers import Tokenizer


class Spelling:
    """How the ids of one answer become text.

    Args:
        tokenizer: any tokenizer of text.
        stop: texts that end an answer; it ends just before the first of them.
        before: ids that come before the answer, such as a prompt; what lies between two words belongs to the answer.

    Raises:
        ValueError: a stop text is empty.

    Example:
        >>> from omniformer_tokenizers import ByteTokenizer
        >>> spelling = Spelling(ByteTokenizer(), stop=["!"])
        >>> ids = ByteTokenizer()("héy! you").values.tolist()
        >>> list(spelling.pieces(ids)), spelling.text(ids), spelling.complete(ids)
        (['h', 'é', 'y'], 'héy', True)
    """

    def __init__(self, tokenizer: Tokenizer, *, stop: Sequence[str] = (), before: Sequence[int] = ()) -> None:
        if not all(stop):
            raise ValueError("a stop text is empty; every answer would end before it begins")
        self.tokenizer, self.stop, self.before = tokenizer, tuple(stop), tuple(before)

    def text(self, ids: Iterable[int]) -> str:
        """The text of a whole answer, cut off at the first stop text."""
        whole = self._whole(ids)
        return whole[: self._end(whole)]

    def complete(self, ids: Sequence[int]) -> bool:
        """Whether the text of the ids holds a stop text."""
        return bool(self.stop) and self._end(self._whole(ids)) is not None

    def pieces(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of an answer piece by piece, as its ids come.

        What might still change is withheld: bytes that are no whole character yet, and the beginning of what may
        become a stop text.
        """
        grow, text, said = self._growing(), "", 0
        for chosen in ids:
            text += grow(chosen)
            end = self._end(text, said)
            if end is not None:
                if end > said:
                    yield text[said:end]
                return
            sure = len(text) - self._withheld(text)
            if sure > said:
                yield text[said:sure]
                said = sure
        text += grow(None)
        text = text[: self._end(text, said)]
        if len(text) > said:
            yield text[said:]

    def _growing(self) -> Callable[[int | None], str]:
        """What each id adds to the text; None says that no more will come."""
        table: Any = getattr(self.tokenizer, "token_bytes", None)
        if table is not None:
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            # Published models have rows beyond the vocabulary, which mean nothing.
            return lambda chosen: decoder.decode(
                table[chosen] if chosen is not None and chosen < len(table) else b"", final=chosen is None
            )
        ids: list[int] = []
        length = 0

        def grow(chosen: int | None) -> str:
            nonlocal length
            if chosen is not None:
                ids.append(chosen)
            whole = self._whole(ids)
            if chosen is not None and whole.endswith("\ufffd"):
                return ""  # may be the first bytes of a character
            new, length = whole[length:], len(whole)
            return new

        return grow

    def _whole(self, ids: Iterable[int]) -> str:
        before = len(self.tokenizer.decode(self.before)) if self.before else 0  # pyright: ignore[reportArgumentType]
        return self.tokenizer.decode([*self.before, *ids])[before:]  # pyright: ignore[reportArgumentType]

    def _end(self, text: str, start: int = 0) -> int | None:
        """Where the first stop text begins."""
        found = [place for stop in self.stop if (place := text.find(stop, start)) >= 0]
        return min(found) if found else None

    def _withheld(self, text: str) -> int:
        """How many characters at the end of a text may be the beginning of a stop text."""
        longest = min(max(map(len, self.stop), default=1) - 1, len(text))
        return next((n for n in range(longest, 0, -1) if any(s.startswith(text[-n:]) for s in self.stop)), 0)
