"""The layout of tokens in a cache: made anew for each token that is written, and seldom asked where each one lies."""

from functools import cached_property

from torch import Tensor

from omniformer.core.layout import Layout


class HeldLayout(Layout):
    """A `Layout` that numbers its tokens once somebody asks: kernels that read a cache by rows never do, and to number
    what is held costs more the longer an answer gets.

    Example:
        >>> import torch
        >>> layout = HeldLayout(lengths=torch.tensor([2, 1]))
        >>> layout.n_tokens, layout.sample.tolist(), layout.index.tolist()
        (3, [0, 0, 1], [0, 1, 0])
    """

    def _number(self, sizes: list[int]) -> None:
        """Nothing yet."""
        self._memo["n_tokens"] = sum(sizes)

    @property
    def n_tokens(self) -> int:
        """The number of tokens of all samples together."""
        return self._memo["n_tokens"]

    @cached_property
    def offsets(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Where each sample begins, and the end."""
        return self._numbers[0]

    @cached_property
    def sample(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Which sample each token belongs to."""
        return self._numbers[1]

    @cached_property
    def index(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The place of each token in its sample."""
        return self._numbers[2]

    @cached_property
    def _numbers(self) -> tuple[Tensor, Tensor, Tensor]:
        return self._numbered(self.lengths.tolist())
