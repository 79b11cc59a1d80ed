"""What each frame says: an id of the vocabulary, or nothing."""

from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.dropout import Dropout
from omniformer.core.init import linear_
from omniformer.core.layout import Layout
from omniformer.core.ranges import BelowOne, Count, Natural
from omniformer.heads.head import Head


class CTCHead(Head):
    """Scores of every id and of the blank for each token, for connectionist temporal classification
    ([Graves et al. 2006](https://doi.org/10.1145/1143844.1143891)).

    Args:
        d_model: width of the core.
        vocab_size: number of ids of what is written.
        blank: the id that means nothing, where one of them is reserved for that, as in published vocabularies; by
            default the blank is one more behind them.
        dropout: share of features set to zero in training.

    Shapes:
        x `[tokens, d_model]` → `[tokens, vocab_size + 1]`, the blank last; `[tokens, vocab_size]` with `blank`.

    Raises:
        ValueError: `blank` is none of the ids.

    Example:
        >>> import torch
        >>> head = CTCHead(d_model=8, vocab_size=3)
        >>> head(torch.zeros(5, 8), Layout.from_lengths(2, 3)).shape, head.blank
        (torch.Size([5, 4]), 3)
    """

    per_token = True
    answers = "transcript"
    makes = "transcripts"

    def __init__(
        self, *, d_model: Count, vocab_size: Count, blank: Natural | None = None, dropout: BelowOne = 0.0
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, vocab_size=vocab_size)
        if blank is not None and not 0 <= blank < vocab_size:
            raise ValueError(
                f"blank={blank} is none of the ids 0 to {vocab_size - 1}; leave it out for one behind them"
            )
        self.vocab_size, self.blank = vocab_size, vocab_size if blank is None else blank
        checks.below_one(dropout=dropout)
        self.dropout = Dropout(dropout)
        self.ids = nn.Linear(d_model, vocab_size + (blank is None))
        self.reset_parameters()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Logits of each token's ids and blank."""
        return self.ids(self.dropout(x))

    def predict(self, outputs: Tensor) -> Tensor:
        """Probabilities, which add up to one."""
        return outputs.float().softmax(-1)

    def reset_parameters(self) -> None:
        """Makes all ids and the blank equally likely at the start."""
        linear_(self.ids, 0.0)
