"""Which class, or which classes, a sample or a token belongs to."""

from collections.abc import Callable

from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.dropout import Dropout
from omniformer.core.init import linear_
from omniformer.core.layout import Layout
from omniformer.core.ranges import BelowOne, Count
from omniformer.heads.head import Head
from omniformer.heads.pooling import MeanPool, width_of


class ClassificationHead(Head):
    """One class of several for each sample: pooled tokens, one linear map, softmax.

    Args:
        d_model: width of the core.
        n_classes: number of classes.
        pool: makes the pooling, called with `d_model`; the mean by default, which needs no class token.
        norm: makes a norm of what was pooled, called with `d_model`, as in AST
            ([Gong et al. 2021](https://arxiv.org/abs/2104.01778)); none by default, since most cores end in one.
        dropout: share of pooled features set to zero in training.
        bias: whether each class has an offset; the classifiers of LLaMA and its relatives have none.

    Shapes:
        x `[tokens, d_model]` → `[samples, n_classes]`.

    Example:
        >>> import torch
        >>> ClassificationHead(d_model=8, n_classes=3)(torch.zeros(5, 8), Layout.from_lengths(2, 3)).shape
        torch.Size([2, 3])
    """

    tells_classes = True

    def __init__(
        self,
        *,
        d_model: Count,
        n_classes: Count,
        pool: Callable[..., nn.Module] = MeanPool,
        norm: Callable[..., nn.Module] | None = None,
        dropout: BelowOne = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, n_classes=n_classes)
        self.pool = pool(d_model=d_model)
        width = width_of(self.pool, d_model)
        self.norm = nn.Identity() if norm is None else norm(d_model=width)
        checks.below_one(dropout=dropout)
        self.dropout = Dropout(dropout)
        self.classes = nn.Linear(width, n_classes, bias=bias)
        self.reset_parameters()

    @property
    def last_map(self) -> nn.Linear:
        return self.classes

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Logits of each sample's classes."""
        return self.classes(self.dropout(self.norm(self.pool(x, layout))))

    def predict(self, outputs: Tensor) -> Tensor:
        """Probabilities, which add up to one."""
        return outputs.float().softmax(-1)

    def reset_parameters(self) -> None:
        """Makes all classes equally likely at the start."""
        linear_(self.classes, 0.0)


class MultiLabelHead(ClassificationHead):
    """Any number of classes for each sample: as `ClassificationHead`, with a sigmoid for each class.

    Arguments and shapes as for `ClassificationHead`.
    """

    problem = "multi_label_classification"

    def predict(self, outputs: Tensor) -> Tensor:
        """Probability of each class by itself."""
        return outputs.float().sigmoid()


class TokenClassificationHead(Head):
    """One class of several for each token: a graph's nodes, the words of a sentence.

    Args:
        d_model: width of the core.
        n_classes: number of classes.
        norm: makes what stands before the map, called with `d_model`, such as `Transform` as in ModernBERT
            ([Warner et al. 2024](https://arxiv.org/abs/2412.13663)); nothing by default.
        dropout: share of features set to zero in training.
        propagation: makes what carries logits along the edges of a graph, called without arguments and then with them
            and the layout, such as `GeneralizedPageRank`; nothing by default.

    Shapes:
        x `[tokens, d_model]` → `[tokens, n_classes]`.

    Example:
        >>> import torch
        >>> from omniformer.core.propagation import GeneralizedPageRank
        >>> friends = Layout(lengths=torch.tensor([3]), edges=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]))
        >>> head = TokenClassificationHead(d_model=8, n_classes=4, propagation=GeneralizedPageRank)
        >>> head(torch.zeros(3, 8), friends).shape
        torch.Size([3, 4])
    """

    per_token = True
    tells_classes = True

    def __init__(
        self,
        *,
        d_model: Count,
        n_classes: Count,
        norm: Callable[..., nn.Module] | None = None,
        dropout: BelowOne = 0.0,
        propagation: Callable[..., nn.Module] | None = None,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, n_classes=n_classes)
        checks.below_one(dropout=dropout)
        self.norm = nn.Identity() if norm is None else norm(d_model=d_model)
        self.dropout = Dropout(dropout)
        self.classes = nn.Linear(d_model, n_classes)
        self.propagation = None if propagation is None else propagation()
        self.reset_parameters()

    @property
    def last_map(self) -> nn.Linear | None:
        return self.classes if self.propagation is None else None

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Logits of each token's classes."""
        logits = self.classes(self.dropout(self.norm(x)))
        return logits if self.propagation is None else self.propagation(logits, layout)

    def predict(self, outputs: Tensor) -> Tensor:
        """Probabilities, which add up to one."""
        return outputs.float().softmax(-1)

    def reset_parameters(self) -> None:
        """Makes all classes equally likely at the start."""
        linear_(self.classes, 0.0)
