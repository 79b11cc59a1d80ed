"""Who may attend to whom, by what lies between."""

from dataclasses import dataclass

from torch import Tensor

from omniformer.core.layout import View
from omniformer.core.ranges import Count
from omniformer.core.rules import Rule


@dataclass(frozen=True)
class Multiples(Rule):
    """Tokens that lie a multiple of a step apart, themselves among them.

    Args:
        step: in tokens.
    """

    step: Count = 2

    def attend(self, query: View, key: View) -> Tensor:
        return (query.index - key.index) % self.step == 0
