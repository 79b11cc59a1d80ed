"""What every kernel of attention is."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from torch import Tensor

from omniformer.core.biases import Bias

Score = Callable[[Tensor], Tensor]


class Weighing(NamedTuple):
    """How keys are weighed: `softmax(score(q k^T scale) + bias)`, of which a share is dropped.

    Args:
        scale: factor of the scores.
        bias: scores added for each head and pair.
        score: a function of each scaled score.
        dropout: share of attention weights set to zero.
    """

    scale: float
    bias: Bias | None
    score: Score | None
    dropout: float


class Kernel(ABC):
    """Attention under a rule, made ready for one batch by `__init__(rule, layout, key_layout)`.

    All kernels give the same numbers, at other costs; `Reference` is what they are compared with.
    """

    name: ClassVar[str]
    """By which it is asked for."""
    takes_rows: bool = False
    """Whether keys and values may come as the rows of a cache, `[samples, keys, kv_heads, head_dim]`."""

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        scale: float,
        bias: Bias | None = None,
        score: Score | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """Attends; see `Plan.attend` for arguments and shapes."""
        return self.attend(q, k, v, Weighing(scale, bias, score, dropout))

    @abstractmethod
    def attend(self, q: Tensor, k: Tensor, v: Tensor, how: Weighing) -> Tensor:
        """What a kernel computes; see `Plan.attend` for shapes. A query that may attend to nothing yields zero."""
