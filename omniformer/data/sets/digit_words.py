"""Digits as words beside their pictures: what a model is to paint, or to say of a picture."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from omniformer.data.sets.fsdd import WORDS
from omniformer.data.sets.on_access import OnAccess
from omniformer.data.source import Raw, Source, Split


class DigitWords(Source):
    """The samples of another set of digits with their words, "zero" to "nine", in front.

    With `answer: vision` in the stream a model paints the digit that it reads; with `answer: text` it reads the digit
    that it sees. Ids and splits stay those of the other set.

    Args:
        source: a set whose target `label` is a digit: `Digits` (8 x 8 pixels, needs no files) or MNIST (28 x 28).

    Raises:
        ValueError: the source's classes are not the ten digits.

    Example:
        >>> from omniformer.data.sets.digits import Digits
        >>> raw = DigitWords(source=Digits()).split("val")[0]
        >>> list(raw.contents), raw.contents["text"], raw.targets["label"].item()
        (['text', 'vision'], 'four', 4)
    """

    modalities = ("text", "vision")

    def __init__(self, *, source: Source) -> None:
        if source.labels not in (tuple("0123456789"), WORDS):
            raise ValueError(f"{source.name} has the classes {list(source.labels)}; words are known for the ten digits")
        self.source = source

    @property
    def name(self) -> str:
        """The name of the data set, for messages."""
        return f"{type(self).__name__} of {self.source.name}"

    @property
    def labels(self) -> tuple[str, ...]:
        """The words, in the order of the targets."""
        return WORDS

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in the order of the other set; made when they are asked for."""
        raws = self.source.split(name)
        return OnAccess(len(raws), partial(_worded, raws))


def _worded(raws: Sequence[Raw], number: int) -> Raw:
    raw = raws[number]
    contents: dict[str, Any] = {"text": WORDS[int(raw.targets["label"])], **raw.contents}
    return Raw(id=raw.id, contents=contents, targets=raw.targets)
