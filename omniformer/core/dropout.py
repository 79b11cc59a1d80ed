"""Features set to zero at random, by masks that are cheap to draw on a CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 1 << 16


class Dropout(nn.Dropout):
    """Sets a share of all features to zero in training, and scales the others so that their mean stays
    ([Srivastava et al. 2014](https://jmlr.org/papers/v15/srivastava14a.html)).

    On a CPU, PyTorch draws one random number for each feature, one after the other. Here one of 64 bits decides about
    four features, so the share is a multiple of 1/65536, above 0 and below 1; the scale is that of the share.

    Args:
        p: share of features that are dropped.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> dropped = Dropout(0.5)(torch.ones(1000))
        >>> sorted(set(dropped.tolist())), abs(float(dropped.mean()) - 1) < 0.1
        ([0.0, 2.0], True)
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drops features of tokens of any shape."""
        if not self.training or self.p == 0:
            return input
        if input.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(input, self.p)
        return input * kept(input, self.p)


def kept(x: Tensor, share: float) -> Tensor:
    """What to multiply `x` with: zero for about this share of it, for the rest what keeps the mean.

    Shapes:
        as x, of its dtype.
    """
    dropped = min(max(round(share * _LEVELS), 1), _LEVELS - 1)
    # Drawn from the whole range of 64 bits, which are then read as four numbers of 16.
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = draws.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - _LEVELS // 2
    return kept.to(x.dtype).mul_(_LEVELS / (_LEVELS - dropped))
