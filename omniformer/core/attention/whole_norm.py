"""Self-attention whose queries and keys are normalised over all heads together."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from omniformer.core.attention.multihead import SelfAttention


class WholeNormAttention(SelfAttention):
    """Self-attention with one norm over the queries of all heads of a token, and one over its keys
    ([OLMo et al. 2024](https://arxiv.org/abs/2501.00656), 3.1); `qk_norm` of `SelfAttention` looks at each head by
    itself.

    Args:
        whole_norm: makes the norms, called with the width of all heads.
        **heads: those of `SelfAttention`, apart from `qk_norm`.

    Example:
        >>> from omniformer.core.norm import RMSNorm
        >>> attention = WholeNormAttention(d_model=16, n_heads=4, n_kv_heads=2, whole_norm=RMSNorm)
        >>> attention.q_norm.norm.weight.shape, attention.k_norm.norm.weight.shape
        (torch.Size([16]), torch.Size([8]))
    """

    def __init__(self, *, whole_norm: Callable[[int], nn.Module], **heads: Any) -> None:
        super().__init__(**heads)
        self.q_norm = _Flat(whole_norm(self.n_heads * self.head_dim))
        self.k_norm = _Flat(whole_norm(self.n_kv_heads * self.head_dim))


class _Flat(nn.Module):
    """A norm over the features of all heads of a token, `[tokens, heads, head_dim]`."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.flatten(1)).view_as(x)
