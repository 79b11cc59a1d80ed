"""Which tokens come next, several at once."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.ranges import Count
from omniformer.heads.next_token import NextTokenHead


class MultiTokenHead(NextTokenHead):
    """A `NextTokenHead` that also scores the ids of further places, each from the same token
    ([Gloeckle et al. 2024](https://arxiv.org/abs/2404.19737), 2): what stands before the scores has a map of its own
    for each place, the scores share their table.

    It writes as a `NextTokenHead` does; the further scores are guesses of what will be written, of which a `SelfDraft`
    makes several ids of one pass.

    Args:
        d_model: width of the core.
        vocab_size: number of ids.
        n_further: places behind the next one; 3, four tokens in all, were best in the paper.
        further: makes the map of a place, called with `d_model`.
        **options: others of `NextTokenHead`.

    Shapes:
        x `[tokens, d_model]` → `[tokens, vocab_size]`.

    Example:
        >>> import torch
        >>> head = MultiTokenHead(d_model=8, vocab_size=5, n_further=2, tied=False)
        >>> head.further_scores(torch.zeros(3, 8), place=2).shape
        torch.Size([3, 5])
    """

    def __init__(
        self,
        *,
        d_model: Count,
        vocab_size: Count,
        n_further: Count = 3,
        further: Callable[[int], nn.Module] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(d_model=d_model, vocab_size=vocab_size, **options)
        checks.counts(n_further=n_further)
        self.n_further = n_further
        self.further = nn.ModuleList((further or ResidualMap)(d_model) for _ in range(n_further))

    def further_scores(self, x: Tensor, place: int) -> Tensor:
        """Logits of the ids behind the next one.

        Args:
            x: what the core gives.
            place: 1 for the first behind the next one.

        Shapes:
            x `[tokens, d_model]` → `[tokens, vocab_size]`.
        """
        return self.scores(self.further[place - 1](x))

    def further_losses(self, x: Tensor, targets: Tensor, place: int) -> Tensor:
        """Cross-entropy of each target, so many places behind the next one; see `losses`.

        Args:
            x: what the core gives.
            targets: ids.
            place: 1 for the first behind the next one.

        Shapes:
            x `[tokens, d_model]`, targets int64 `[tokens]` → float32 `[tokens]`, in nats.
        """
        return self.losses(self.further[place - 1](x), targets)


class ResidualMap(nn.Module):
    """`x + silu(W x + b)`, at first x itself ([Cai et al. 2024](https://arxiv.org/abs/2401.10774), Medusa, 2.1).

    Args:
        d_model: width.

    Shapes:
        `[tokens, d_model]` → the same.

    Example:
        >>> import torch
        >>> ResidualMap(4)(torch.ones(2, 4)).tolist()[0]
        [1.0, 1.0, 1.0, 1.0]
    """

    def __init__(self, d_model: Count) -> None:
        super().__init__()
        self.map = nn.Linear(d_model, d_model)
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Maps each token by itself."""
        return x + F.silu(self.map(x))

    def reset_parameters(self) -> None:
        """Sets the map to zero."""
        nn.init.zeros_(self.map.weight)
        nn.init.zeros_(self.map.bias)
