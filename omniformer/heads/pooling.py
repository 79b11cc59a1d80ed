"""From the tokens of a sample to one vector."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.dropout import Dropout
from omniformer.core.feedforward import Activation, activation_of
from omniformer.core.init import linear_
from omniformer.core.layout import Layout
from omniformer.core.ranges import BelowOne, Count


class MeanPool(nn.Module):
    """The mean of a sample's tokens; zero for a sample without tokens.

    Shapes:
        x `[tokens, d_model]` → `[samples, d_model]`.

    Example:
        >>> MeanPool(d_model=1)(torch.tensor([[1.0], [3.0], [5.0]]), Layout.from_lengths(2, 0, 1)).tolist()
        [[2.0], [0.0], [5.0]]
    """

    def __init__(self, *, d_model: Count) -> None:
        super().__init__()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Averages each sample."""
        total = x.new_zeros(layout.n_samples, x.shape[-1]).index_add(0, layout.sample, x)
        count = layout.lengths.to(x.device).clamp(min=1)
        return total / count[:, None].to(x.dtype)


class DenseMeanPool(MeanPool):
    """The mean of a sample's tokens, each through a linear map first, which wav2vec 2.0's classifiers call the
    projector ([Yang et al. 2021](https://arxiv.org/abs/2105.01051), SUPERB); zero for a sample without tokens.

    Args:
        d_model: width of the core.
        d_out: width of what comes out; 256 as published.

    Shapes:
        x `[tokens, d_model]` → `[samples, d_out]`.

    Example:
        >>> DenseMeanPool(d_model=4, d_out=3)(torch.zeros(3, 4), Layout.from_lengths(1, 2)).shape
        torch.Size([2, 3])
    """

    def __init__(self, *, d_model: Count, d_out: Count = 256) -> None:
        checks.counts(d_model=d_model, d_out=d_out)
        super().__init__(d_model=d_model)
        self.d_out = d_out
        self.map = nn.Linear(d_model, d_out)
        self.reset_parameters()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Maps the tokens, and averages each sample."""
        return super().forward(self.map(x), layout)

    def reset_parameters(self) -> None:
        """Draws the map anew."""
        linear_(self.map, self.map.in_features**-0.5)


class SumPool(nn.Module):
    """The sum of a sample's tokens, which tells how many there are of each kind, as the mean cannot
    ([Xu et al. 2019](https://arxiv.org/abs/1810.00826), 5.3); for properties that grow with size, such as those of
    molecules.

    Shapes:
        x `[tokens, d_model]` → `[samples, d_model]`.

    Example:
        >>> SumPool(d_model=1)(torch.tensor([[1.0], [3.0], [5.0]]), Layout.from_lengths(2, 0, 1)).tolist()
        [[4.0], [0.0], [5.0]]
    """

    def __init__(self, *, d_model: Count) -> None:
        super().__init__()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Adds up each sample."""
        return x.new_zeros(layout.n_samples, x.shape[-1]).index_add(0, layout.sample, x)


class RootPool(SumPool):
    """The sum of a sample's tokens over the root of their number, which the library sentence-transformers calls
    `mean_sqrt_len`; zero for a sample without tokens.

    Shapes:
        x `[tokens, d_model]` → `[samples, d_model]`.

    Example:
        >>> RootPool(d_model=1)(torch.tensor([[1.0], [3.0], [4.0], [0.0], [5.0]]), Layout.from_lengths(4, 1)).tolist()
        [[4.0], [5.0]]
    """

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Adds up each sample, and divides."""
        return super().forward(x, layout) / layout.lengths.to(x.device).clamp(min=1).sqrt()[:, None].to(x.dtype)


class RampPool(nn.Module):
    """A mean in which token i of a sample counts i times, from 1 on: under a causal rule later tokens have seen more
    ([Muennighoff 2022](https://arxiv.org/abs/2202.08904), 3.1, position-weighted mean); zero for a sample without
    tokens.

    Shapes:
        x `[tokens, d_model]` → `[samples, d_model]`.

    Example:
        >>> RampPool(d_model=1)(torch.tensor([[3.0], [6.0], [5.0]]), Layout.from_lengths(2, 1)).tolist()
        [[5.0], [5.0]]
    """

    def __init__(self, *, d_model: Count) -> None:
        super().__init__()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Averages each sample with growing weights."""
        weighted = x * (layout.index + 1)[:, None].to(x.dtype)
        total = x.new_zeros(layout.n_samples, x.shape[-1]).index_add(0, layout.sample, weighted)
        n = layout.lengths.to(x.device)
        return total / (n * (n + 1) / 2).clamp(min=1)[:, None].to(x.dtype)


class MaxPool(nn.Module):
    """The largest value of each feature among a sample's tokens; zero for a sample without tokens.

    Shapes:
        x `[tokens, d_model]` → `[samples, d_model]`.

    Example:
        >>> MaxPool(d_model=1)(torch.tensor([[-1.0], [-3.0], [5.0]]), Layout.from_lengths(2, 0, 1)).tolist()
        [[-1.0], [0.0], [5.0]]
    """

    def __init__(self, *, d_model: Count) -> None:
        super().__init__()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Picks the largest values of each sample."""
        sample = layout.sample[:, None].expand_as(x)
        return x.new_zeros(layout.n_samples, x.shape[-1]).scatter_reduce(0, sample, x, "amax", include_self=False)


class FirstToken(nn.Module):
    """A sample's first token, where data puts a class token ([Devlin et al. 2018](https://arxiv.org/abs/1810.04805));
    zero for a sample without tokens.

    Shapes:
        x `[tokens, d_model]` → `[samples, d_model]`.
    """

    def __init__(self, *, d_model: Count) -> None:
        super().__init__()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Picks the first token of each sample."""
        return _picked(x, layout, 0)


class FirstTokens(nn.Module):
    """The mean of a sample's first tokens: the class token and the distillation token of AST
    ([Gong et al. 2021](https://arxiv.org/abs/2104.01778), 2.2); zero for a sample without tokens.

    Args:
        d_model: width of the core.
        n: how many; a sample that has tokens has at least as many.

    Shapes:
        x `[tokens, d_model]` → `[samples, d_model]`; `each` → `[samples, n, d_model]`.

    Raises:
        ValueError: `n` is below 1; at first use, a sample has tokens, but fewer than `n`.

    Example:
        >>> FirstTokens(d_model=1, n=2)(torch.tensor([[1.0], [3.0], [9.0]]), Layout.from_lengths(3, 0)).tolist()
        [[2.0], [0.0]]
    """

    def __init__(self, *, d_model: Count, n: Count = 2) -> None:
        super().__init__()
        if n < 1:
            raise ValueError(f"n={n} must be at least 1")
        self.n = n

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Averages the first tokens of each sample."""
        return self.each(x, layout).mean(1)

    def each(self, x: Tensor, layout: Layout) -> Tensor:
        """The first tokens of each sample, one after the other."""
        short = (layout.lengths > 0) & (layout.lengths < self.n)
        # A tracer cannot look at the lengths.
        if not torch.compiler.is_compiling() and bool(short.any()):
            row = int(short.nonzero()[0])
            raise ValueError(
                f"sample {row} has {int(layout.lengths[row])} tokens, of which the first {self.n} are read"
            )
        return torch.stack([_picked(x, layout, i) for i in range(self.n)], dim=1)


class FirstAndMean(FirstToken):
    """A sample's first token beside the mean of the tokens behind the first ones: the class token and the mean of the
    patches, which classifiers on DINOv2 read ([Oquab et al. 2023](https://arxiv.org/abs/2304.07193), their published
    code); zero for a sample without tokens.

    Args:
        d_model: width of the core.
        n_first: tokens in front of those that are averaged: the class token, and registers where there are any.

    Shapes:
        x `[tokens, d_model]` → `[samples, 2 d_model]`.

    Example:
        >>> x = torch.tensor([[1.0], [9.0], [3.0], [5.0]])
        >>> FirstAndMean(d_model=1, n_first=2)(x, Layout.from_lengths(4, 0)).tolist()
        [[1.0, 4.0], [0.0, 0.0]]
    """

    def __init__(self, *, d_model: Count, n_first: Count = 1) -> None:
        checks.counts(d_model=d_model, n_first=n_first)
        super().__init__(d_model=d_model)
        self.d_out, self.n_first = 2 * d_model, n_first

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Picks the first token of each sample, and averages the others."""
        behind = x * (layout.index >= self.n_first)[:, None].to(x.dtype)
        total = x.new_zeros(layout.n_samples, x.shape[-1]).index_add(0, layout.sample, behind)
        count = (layout.lengths.to(x.device) - self.n_first).clamp(min=1)
        return torch.cat([super().forward(x, layout), total / count[:, None].to(x.dtype)], dim=-1)


class LastToken(nn.Module):
    """A sample's last token, which alone has seen all others under a causal rule
    ([Radford et al. 2021](https://arxiv.org/abs/2103.00020), 2.4); zero for a sample without tokens.

    Shapes:
        x `[tokens, d_model]` → `[samples, d_model]`.

    Example:
        >>> LastToken(d_model=1)(torch.tensor([[1.0], [3.0], [5.0]]), Layout.from_lengths(2, 0, 1)).tolist()
        [[3.0], [0.0], [5.0]]
    """

    def __init__(self, *, d_model: Count) -> None:
        super().__init__()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Picks the last token of each sample."""
        return _picked(x, layout, -1)


class DenseLastToken(LastToken):
    """A sample's last token through a linear map, with which SigLIP's tower of texts ends
    ([Zhai et al. 2023](https://arxiv.org/abs/2303.15343), their published code), and BART's classifier begins; zero for
    a sample without tokens.

    Args:
        d_model: width of the core.
        d_out: width of what comes out; `d_model` by default.
        activation: of what comes out, as BART has "tanh"; none by default.
        dropout: share of features of the token set to zero in training.

    Shapes:
        x `[tokens, d_model]` → `[samples, d_out]`.

    Example:
        >>> DenseLastToken(d_model=4, d_out=3)(torch.zeros(3, 4), Layout.from_lengths(1, 2)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        *,
        d_model: Count,
        d_out: Count | None = None,
        activation: Activation | None = None,
        dropout: BelowOne = 0.0,
    ) -> None:
        checks.counts(d_model=d_model, d_out=d_out)
        checks.below_one(dropout=dropout)
        super().__init__(d_model=d_model)
        self.d_out = d_model if d_out is None else d_out
        self.dropout = Dropout(dropout)
        self.map = nn.Linear(d_model, self.d_out)
        self.activation = nn.Identity() if activation is None else activation_of(activation)
        self.reset_parameters()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Picks the last token of each sample and maps it."""
        there = (layout.lengths > 0).to(x.device)[:, None].to(x.dtype)
        return self.activation(self.map(self.dropout(super().forward(x, layout)))) * there

    def reset_parameters(self) -> None:
        """Draws the map anew."""
        linear_(self.map, self.map.in_features**-0.5)


class DenseFirstToken(FirstToken):
    """A sample's first token through a linear map and an activation, which BERT calls its pooler and RoBERTa the first
    half of its classifier ([Devlin et al. 2018](https://arxiv.org/abs/1810.04805), their published code).

    Args:
        d_model: width of the core.
        activation: "tanh" as in BERT; DistilBERT has "relu".
        dropout: share of features of the token set to zero in training.
        d_out: width of what comes out; `d_model` by default.

    Shapes:
        x `[tokens, d_model]` → `[samples, d_out]`.

    Example:
        >>> DenseFirstToken(d_model=4)(torch.zeros(3, 4), Layout.from_lengths(1, 2)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self, *, d_model: Count, activation: Activation = "tanh", dropout: BelowOne = 0.0, d_out: Count | None = None
    ) -> None:
        checks.counts(d_model=d_model, d_out=d_out)
        super().__init__(d_model=d_model)
        checks.below_one(dropout=dropout)
        self.dropout = Dropout(dropout)
        self.d_out = d_model if d_out is None else d_out
        self.map = nn.Linear(d_model, self.d_out)
        self.activation = activation_of(activation)
        self.reset_parameters()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Picks the first token of each sample and maps it."""
        return self.activation(self.map(self.dropout(super().forward(x, layout))))

    def reset_parameters(self) -> None:
        """Draws the map anew."""
        linear_(self.map, 0.02)


class AttentionPool(nn.Module):
    """A mean weighted by a learned query ([Hassani et al. 2021](https://arxiv.org/abs/2104.05704), sequence pooling);
    zero for a sample without tokens.

    Shapes:
        x `[tokens, d_model]` → `[samples, d_model]`.
    """

    def __init__(self, *, d_model: Count) -> None:
        super().__init__()
        checks.counts(d_model=d_model)
        self.query = nn.Linear(d_model, 1)
        nn.init.zeros_(self.query.weight)
        nn.init.zeros_(self.query.bias)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Averages each sample with learned weights."""
        scores = self.query(x)[:, 0]
        weights = softmax_within(scores, layout)
        return x.new_zeros(layout.n_samples, x.shape[-1]).index_add(0, layout.sample, x * weights[:, None])


def width_of(pool: nn.Module, d_model: int) -> int:
    """The width of what a pooling gives: its `d_out`; that of the core where it says nothing."""
    return getattr(pool, "d_out", d_model)


def softmax_within(scores: Tensor, layout: Layout) -> Tensor:
    """The softmax of scores over the tokens of each sample.

    Shapes:
        scores `[tokens, ...]` → the same.

    Example:
        >>> softmax_within(torch.zeros(3), Layout.from_lengths(2, 0, 1)).tolist()
        [0.5, 0.5, 1.0]
    """
    sample = layout.sample.view(-1, *[1] * (scores.ndim - 1)).expand_as(scores)
    top = scores.new_full((layout.n_samples, *scores.shape[1:]), -torch.inf)
    top = top.scatter_reduce(0, sample, scores.detach(), "amax")
    weights = (scores - top[layout.sample]).exp()
    total = torch.zeros_like(top).index_add(0, layout.sample, weights)
    return weights / total[layout.sample]


def _picked(x: Tensor, layout: Layout, place: int) -> Tensor:
    """One token of each sample by its place, counted from the end where it is negative; zero where there is none."""
    token = layout.offsets[:-1] + place if place >= 0 else layout.offsets[1:] + place
    there = layout.lengths.to(x.device) > (place if place >= 0 else -place - 1)
    # Who has none picks one more row, of zeros. To ask which samples these are would make the host wait for a GPU.
    return F.pad(x, (0, 0, 0, 1))[torch.where(there, token, x.shape[0])]
