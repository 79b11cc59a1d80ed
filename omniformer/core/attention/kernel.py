"""What every kernel of attention is."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from torch import Tensor

from omniformer.core.biases import Bias

Score = Callable[[Tensor], Tensor]


class Weighing(NamedTuple):
    """How keys are weighed: `softmax(score(q k^T scale) + bias)`, of which a share is dropped, and one left to a sink.

    Args:
        scale: factor of the scores.
        bias: scores added for each head and pair.
        score: a function of each scaled score.
        dropout: share of attention weights set to zero.
        sink: a score for each head that competes with the keys for weight and gives nothing.

    Shapes:
        sink `[heads]`.
    """

    scale: float
    bias: Bias | None
    score: Score | None
    dropout: float
    sink: Tensor | None = None


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
        """What a kernel computes; see `Plan.attend` for shapes. A query that may attend to nothing yields zero.

        Sinks are not its business: `Plan.attend` takes their share away afterwards.
        """

    def lse(self, q: Tensor, k: Tensor, how: Weighing) -> Tensor:
        """The log of the sum of the exponentials of each query's scores; see `Plan.lse`.

        Raises:
            ValueError: the kernel does not say it, as those of this project do.
        """
        raise ValueError(
            f"kernel {self.name!r} gives no log-sum-exp, which sinks and merging need; choose another, such as 'dense'"
        )
