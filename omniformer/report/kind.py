"""What can be said of predictions, whatever they are of."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from omniformer.pages.blocks import Block
from omniformer.report.run import Row


class Kind(ABC):
    """One form of rows of `predictions.jsonl`: how they are judged, and which of them are hard."""

    by_degree: ClassVar[bool] = False  # whether each row is off by something, more or less, rather than right or wrong

    @abstractmethod
    def fits(self, row: Row) -> bool:
        """Whether a row is of this form."""

    @abstractmethod
    def judged(self, rows: Sequence[Row]) -> list[Block]:
        """Tables and charts of the rows of a split."""

    @abstractmethod
    def trivial(self, rows: Sequence[Row]) -> dict[str, str]:
        """What an answer that does not look at its input would score on these rows, by what it answers."""

    @abstractmethod
    def mistake(self, row: Row) -> float:
        """How bad a row is: above 0 where it is wrong, the larger the worse; up to 0 where it is right, 0 the least
        sure. NaN where that is not known.
        """

    def score(self, row: Row) -> float:
        """How good a row is, the larger the better: 1 where it is right and 0 where it is wrong; NaN where that is not
        known.
        """
        mistake = self.mistake(row)
        return mistake if math.isnan(mistake) else float(mistake <= 0)

    @abstractmethod
    def told(self, row: Row) -> list[str]:
        """What was wanted and what was said, as lines."""


def share(value: float) -> str:
    """A share as people read it.

    Example:
        >>> share(0.98765)
        '0.9877'
    """
    return f"{value:.4f}"


def shortened(value: Any, letters: int = 160) -> str:
    """A value as text, cut where it is long.

    Example:
        >>> shortened("abcdef", 4)
        'abc…'
    """
    text = str(value)
    return text if len(text) <= letters else f"{text[: letters - 1]}…"
