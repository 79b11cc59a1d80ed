"""Which category a token is of, in the field by which its tokenizer tells what it is: the element of an atom."""

from omniformer.core import checks
from omniformer.core.ranges import BelowOne, Count
from omniformer.heads.classification import TokenClassificationHead


class CategoryHead(TokenClassificationHead):
    """Scores of the categories of each node's first field, for finding hidden nodes
    ([Hu et al. 2019](https://arxiv.org/abs/1905.12265), 3.1.2).

    Args:
        d_model: width of the core.
        vocab_sizes: number of categories of each field, as the tokenizer tells it.
        dropout: share of features set to zero in training.

    Shapes:
        x `[tokens, d_model]` → `[tokens, categories of the first field]`.

    Raises:
        ValueError: nodes have no categories.

    Example:
        >>> CategoryHead(d_model=8, vocab_sizes=[5, 2]).classes.out_features
        5
    """

    def __init__(self, *, d_model: Count, vocab_sizes: list[int], dropout: BelowOne = 0.0) -> None:
        if not vocab_sizes:
            raise ValueError("vocab_sizes is empty: these nodes have no categories to tell apart, only numbers")
        checks.counts(**{f"vocab_sizes[{i}]": size for i, size in enumerate(vocab_sizes)})
        super().__init__(d_model=d_model, n_classes=vocab_sizes[0], dropout=dropout)
