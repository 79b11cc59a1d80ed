"""Results of attention over different keys, joined as if they had been read together."""

from collections.abc import Sequence

import torch
from torch import Tensor


def merge(outs: Sequence[Tensor], lses: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """What queries collect from several sets of keys, each of which was attended to by itself
    ([Dao et al. 2023](https://crfm.stanford.edu/2023/10/12/flashdecoding.html)).

    Args:
        outs: what they collected from each set.
        lses: the log-sum-exp of their scores on each, as `Plan.lse` gives it.

    Shapes:
        each out `[tokens, heads, head_dim]`, each lse `[tokens, heads]` → the same, of all keys.

    Example:
        >>> one, two = torch.full((1, 1, 2), 1.0), torch.full((1, 1, 2), 3.0)
        >>> merge([one, two], [torch.zeros(1, 1), torch.zeros(1, 1)])[0].tolist()
        [[[2.0, 2.0]]]
    """
    stacked = torch.stack(list(lses))
    alive = ~stacked.isneginf().all(0)
    # Where there are no keys at all, finite numbers, so that not even a gradient is NaN.
    total = torch.where(alive, stacked, 0.0).logsumexp(0)
    shares = torch.where(alive, (stacked - total).exp(), 0.0)
    out = sum(out * share[..., None].to(out.dtype) for out, share in zip(outs, shares, strict=True))
    return torch.as_tensor(out), torch.where(alive, total, -torch.inf)


def left_by(sink: Tensor, lse: Tensor) -> Tensor:
    """The share of its weight that each query has left for keys, once a sink has competed with them.

    Shapes:
        sink `[heads]`, lse `[tokens, heads]` → `[tokens, heads]`.

    Example:
        >>> left_by(torch.zeros(1), torch.tensor([[0.0], [-torch.inf]])).tolist()
        [[0.5], [0.0]]
    """
    return (lse - sink.to(lse.dtype)).sigmoid()
