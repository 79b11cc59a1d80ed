"""From ids to text while they are being written: whole characters only, and an end at stop sequences."""

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from omniformer_tokenizers import Tokenizer

from omniformer.generation.strategy import Chosen

_PATIENCE = 8  # ids read for each byte of a stop text, where some of them, such as special tokens, say nothing


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
        >>> list(spelling.pieces(ids)), spelling.text(ids), spelling.ends(ids)
        (['h', 'é', 'y'], 'héy', False)
    """

    def __init__(self, tokenizer: Tokenizer, *, stop: Sequence[str] = (), before: Sequence[int] = ()) -> None:
        if not all(stop):
            raise ValueError("a stop text is empty; every answer would end before it begins")
        self.tokenizer, self.stop, self.before = tokenizer, tuple(stop), tuple(before)
        self._table: Any = getattr(tokenizer, "token_bytes", None)

    def text(self, ids: Iterable[int]) -> str:
        """The text of a whole answer, cut off at the first stop text."""
        whole = self._whole(ids)
        return whole[: self._end(whole)]

    def ends(self, ids: Sequence[int]) -> bool:
        """Whether the last id completes a stop text, to be asked after each id: what came before is not searched again.

        Only as many ids are read as the longest stop text may span, so that an answer costs time linear in its length.
        """
        if not self.stop or not ids:
            return False
        if self._table is None:
            return self._end(self._recent(ids)) is not None
        needed, found = max(len(stop.encode()) for stop in self.stop) - 1, [self._bytes(ids[-1])]
        for chosen in reversed(ids[-1 - needed * _PATIENCE : -1]):
            if needed <= 0:
                break
            found.append(self._bytes(chosen))
            needed -= len(found[-1])
        # In UTF-8 no character's bytes hide inside another's, so that bytes are found where their text is.
        recent = b"".join(reversed(found))
        return any(stop.encode() in recent for stop in self.stop)

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
        if self._table is not None:
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            return lambda chosen: decoder.decode(b"" if chosen is None else self._bytes(chosen), final=chosen is None)
        # How an id reads may depend on the one before it, on nothing further back: the ids of the last piece are read
        # again with those that follow. Of single bytes it depends on all of their run, which is waited for.
        unsure: frozenset[int] = getattr(self.tokenizer, "byte_pieces", frozenset())
        ids = list(self.before)
        first, said = 0, len(ids)

        def grow(chosen: int | None) -> str:
            nonlocal first, said
            ids.extend([] if chosen is None else [chosen])
            if chosen in unsure or (chosen is not None and unsure and not self._decoded([chosen])):
                return ""
            before, both = self._decoded(ids[first:said]), self._decoded(ids[first:])
            if (chosen is not None and both.endswith("\ufffd")) or len(both) == len(before):
                return ""  # may be the first bytes of a character
            first, said = said, len(ids)
            return both[len(before) :]

        return grow

    def _recent(self, ids: Sequence[int]) -> str:
        """The end of the text of the ids, longer than any stop text by more than the last id says."""
        needed, n = max(map(len, self.stop)) + 4, 8  # a character may have four bytes, each an id of its own
        while n < len(ids):
            window = ids[-n:]
            text, first, last = (self._decoded(part) for part in (window, window[:1], window[-1:]))
            if len(text) - len(first) - len(last) >= needed:
                return text[len(first) :]
            n *= 2
        return self._whole(ids)

    def _bytes(self, chosen: int) -> bytes:
        # Published models have rows beyond the vocabulary, which mean nothing.
        return self._table[chosen] if chosen < len(self._table) else b""

    def _decoded(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids)) if ids else ""  # pyright: ignore[reportArgumentType]

    def _whole(self, ids: Iterable[int]) -> str:
        return self._decoded([*self.before, *ids])[len(self._decoded(self.before)) :]

    def _end(self, text: str, start: int = 0) -> int | None:
        """Where the first stop text begins."""
        found = [place for stop in self.stop if (place := text.find(stop, start)) >= 0]
        return min(found) if found else None

    def _withheld(self, text: str) -> int:
        """How many characters at the end of a text may be the beginning of a stop text."""
        longest = min(max(map(len, self.stop), default=1) - 1, len(text))
        return next((n for n in range(longest, 0, -1) if any(s.startswith(text[-n:]) for s in self.stop)), 0)


class Streamed(Iterator[str]):
    """A text as it is written: its pieces, and afterwards how it ended.

    Args:
        chosen: its ids as they are chosen.
        spelling: makes text of them.
        read: how many tokens the model read before it began.
    """

    def __init__(self, chosen: Iterator[Chosen], spelling: Spelling, *, read: int) -> None:
        self.read = read
        self.ids: list[int] = []
        self.ended = False  # by the model or a stop text; else it reached the most tokens allowed
        self._spelling = spelling
        self._pieces = spelling.pieces(self._noted(chosen))

    def __next__(self) -> str:
        return next(self._pieces)

    def _noted(self, chosen: Iterator[Chosen]) -> Iterator[int]:
        for each in chosen:
            if each.stops:
                self.ended = True
                return
            self.ids.append(each.id)
            self.ended = self._spelling.ends(self.ids)
            yield each.id


def until(spellings: Sequence[Spelling]) -> Callable[[int, Sequence[int]], bool]:
    """Whether the last id of a sample completes a stop text."""
    return lambda sample, ids: spellings[sample].ends(ids)
