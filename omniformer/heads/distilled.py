"""Which class a sample belongs to, according to the labels and according to a teacher."""

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.dropout import Dropout
from omniformer.core.init import linear_
from omniformer.core.layout import Layout
from omniformer.core.ranges import BelowOne, Count
from omniformer.heads.head import Head
from omniformer.heads.pooling import FirstTokens


class DistilledHead(Head):
    """Two classifiers, of the class token and of the distillation token, whose logits are averaged
    ([Touvron et al. 2020](https://arxiv.org/abs/2012.12877), section 4, "joint classifiers").

    Args:
        d_model: width of the core.
        n_classes: number of classes.
        dropout: share of features of both tokens set to zero in training.

    Shapes:
        x `[tokens, d_model]` → `[samples, n_classes]`; `each` → `[samples, 2, n_classes]`.

    Example:
        >>> DistilledHead(d_model=8, n_classes=3)(torch.zeros(5, 8), Layout.from_lengths(2, 3)).shape
        torch.Size([2, 3])
    """

    tells_classes = True

    def __init__(self, *, d_model: Count, n_classes: Count, dropout: BelowOne = 0.0) -> None:
        super().__init__()
        checks.counts(d_model=d_model, n_classes=n_classes)
        self.tokens = FirstTokens(d_model=d_model, n=2)
        checks.below_one(dropout=dropout)
        self.dropout = Dropout(dropout)
        self.classes = nn.Linear(d_model, n_classes)
        self.distilled = nn.Linear(d_model, n_classes)
        self.reset_parameters()

    def each(self, x: Tensor, layout: Layout) -> Tensor:
        """Logits by the labels and logits by the teacher, for a loss that compares each with its own."""
        own, other = self.dropout(self.tokens.each(x, layout)).unbind(1)
        return torch.stack([self.classes(own), self.distilled(other)], dim=1)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """The mean of both logits."""
        return self.each(x, layout).mean(1)

    def predict(self, outputs: Tensor) -> Tensor:
        """Probabilities, which add up to one."""
        return outputs.float().softmax(-1)

    def published(self, x: Tensor, layout: Layout) -> dict[str, Tensor]:
        """The mean of both logits, and each by itself."""
        own, other = self.each(x, layout).unbind(1)
        return {"logits": (own + other) / 2, "cls_logits": own, "distillation_logits": other}

    def reset_parameters(self) -> None:
        """Makes all classes equally likely at the start."""
        linear_(self.classes, 0.0)
        linear_(self.distilled, 0.0)
