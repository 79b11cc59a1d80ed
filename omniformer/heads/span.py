"""Where in a sample something begins and ends."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.dropout import Dropout
from omniformer.core.init import linear_
from omniformer.core.layout import Layout
from omniformer.core.ranges import BelowOne, Count
from omniformer.heads.head import Head


class SpanHead(Head):
    """Two scores for each token, that a span begins with it and that it ends with it
    ([Devlin et al. 2018](https://arxiv.org/abs/1810.04805), 4.2).

    Args:
        d_model: width of the core.
        norm: makes what stands before the map, called with `d_model`, such as `Transform` as in ModernBERT
            ([Warner et al. 2024](https://arxiv.org/abs/2412.13663)); nothing by default.
        dropout: share of features set to zero in training.

    Shapes:
        x `[tokens, d_model]` → `[tokens, 2]`.

    Example:
        >>> SpanHead(d_model=8)(torch.zeros(5, 8), Layout.from_lengths(2, 3)).shape
        torch.Size([5, 2])
    """

    per_token = True
    answers = "span"

    def __init__(
        self, *, d_model: Count, norm: Callable[..., nn.Module] | None = None, dropout: BelowOne = 0.0
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model)
        checks.below_one(dropout=dropout)
        self.norm = nn.Identity() if norm is None else norm(d_model=d_model)
        self.dropout = Dropout(dropout)
        self.ends = nn.Linear(d_model, 2)
        self.reset_parameters()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """The scores of each token."""
        return self.ends(self.dropout(self.norm(x)))

    def predict(self, outputs: Tensor) -> Tensor:
        """The scores themselves; they become probabilities only among the tokens of a sample."""
        return outputs.float()

    def published(self, x: Tensor, layout: Layout) -> dict[str, Tensor]:
        """Both scores, each by itself."""
        start, end = self(x, layout).unbind(-1)
        return {"start_logits": start, "end_logits": end}

    def reset_parameters(self) -> None:
        """Makes all tokens equally likely at the start."""
        linear_(self.ends, 0.0)


def best_spans(scores: Tensor, layout: Layout) -> Tensor:
    """The span of each sample with the largest sum of scores whose end is not before its start; -1 for no tokens.

    Shapes:
        scores `[tokens, 2]` → int64 `[samples, 2]`, first and last token, counted from 0 in each sample.

    Example:
        >>> best_spans(torch.tensor([[0.0, 5.0], [3.0, 0.0], [0.0, 1.0]]), Layout.from_lengths(3)).tolist()
        [[0, 0]]
    """
    if not layout.n_tokens:
        return torch.full((layout.n_samples, 2), -1, device=scores.device)
    start, end = layout.pad(scores.detach().float(), value=-torch.inf).unbind(-1)
    best_start, where = start.cummax(1)  # for each end, the best start up to it
    last = (best_start + end).argmax(1, keepdim=True)
    spans = torch.cat([where.gather(1, last), last], dim=1)
    return spans.masked_fill((layout.lengths == 0).to(spans.device)[:, None], -1)
