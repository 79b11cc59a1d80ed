"""A rule that keeps apart tokens that differ in a feature."""

from dataclasses import dataclass

from torch import Tensor

from omniformer.core.layout import View
from omniformer.core.rules.base import Rule


@dataclass(frozen=True)
class Alike(Rule):
    """A token attends to those with the same value of a feature of the layout: patches to those of their window
    ([Bai et al. 2025](https://arxiv.org/abs/2502.13923), Qwen2.5-VL, 2.1.1, after
    [Liu et al. 2021](https://arxiv.org/abs/2103.14030)).

    Where alike tokens lie together, `& Window(left=n - 1, right=n - 1)` with their largest number n spares the rest.

    Args:
        feature: its name in the layout.

    Raises:
        ValueError: at first use, the layout has no such feature.

    Example:
        >>> import torch
        >>> from omniformer.core.layout import Layout
        >>> layout = Layout(lengths=torch.tensor([3]), features={"window": torch.tensor([4, 4, 7])})
        >>> print(Alike(feature="window").draw(layout))
        ■ ■ ·
        ■ ■ ·
        · · ■
    """

    not_exported = "it reads a feature of the layout, which programs do not take"

    feature: str

    def attend(self, query: View, key: View) -> Tensor:
        return query.feature(self.feature) == key.feature(self.feature)

    def hides(self) -> bool:
        return False
