"""All tokens of a sample as one vector, for samples of one length."""

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count


class FlatPool(nn.Module):
    """A sample's tokens end to end, so that what is read from a token depends on its place: the flattening head of
    PatchTST ([Nie et al. 2023](https://arxiv.org/abs/2211.14730), their published code). With `core.final_norm=false`
    the embedder's linear map reaches it along the residual stream, so that a linear map of all that was given stands
    beside the layers. Zeros for a sample without tokens.

    Args:
        d_model: width of the core.
        n_tokens: tokens of every sample.

    Shapes:
        x `[tokens, d_model]` → `[samples, n_tokens * d_model]`.

    Raises:
        ValueError: a number is none to count by; at use, a sample has another number of tokens.

    Example:
        >>> x = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
        >>> FlatPool(d_model=1, n_tokens=2)(x, Layout.from_lengths(2, 0, 2)).tolist()
        [[1.0, 2.0], [0.0, 0.0], [3.0, 4.0]]
    """

    def __init__(self, *, d_model: Count, n_tokens: Count) -> None:
        super().__init__()
        checks.counts(d_model=d_model, n_tokens=n_tokens)
        self.n_tokens, self.d_out = n_tokens, n_tokens * d_model

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Lays the tokens of each sample end to end."""
        wrong = (layout.lengths != self.n_tokens) & (layout.lengths > 0)
        # A tracer cannot look at the lengths.
        if not torch.compiler.is_compiling() and bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            raise ValueError(
                f"sample {row} has {int(layout.lengths[row])} tokens, and FlatPool reads n_tokens={self.n_tokens} of "
                "each; set task.head.pool.n_tokens to what all have, or take a pooling for samples of any length"
            )
        flat = x.new_zeros(layout.n_samples, self.n_tokens, x.shape[-1])
        return flat.index_put((layout.sample, layout.index), x).flatten(1)
