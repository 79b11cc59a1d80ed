"""Attention in which what a token says and how far it is are two vectors, not their sum."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from einops import einsum
from torch import Tensor

from omniformer.core import checks
from omniformer.core.attention.multihead import Context, SelfAttention
from omniformer.core.biases import Bias
from omniformer.core.dropout import Dropout
from omniformer.core.layout import View
from omniformer.core.projections import Projection, stack
from omniformer.core.ranges import BelowOne, NotNegative

Term = Literal["content_to_position", "position_to_content"]
_TERMS = ("content_to_position", "position_to_content")


class DisentangledAttention(SelfAttention):
    """Disentangled attention ([He et al. 2020](https://arxiv.org/abs/2006.03654), DeBERTa, equation 4): to the score of
    query and key come that of the query with the vector of their distance (content to position) and that of the key
    with it (position to content). What it reads of distances are the vectors of `DisentangledTransformer`.

    Args:
        terms: which scores come to that of the contents.
        own_maps: whether keys and queries of distances have maps of their own, as in the paper; by default they are
            those of the contents, as in DeBERTa v3 and the large models of v2.
        distance_dropout: share of features of the vectors of distances set to zero in training.
        scale: factor of all scores; `1 / sqrt(head_dim * (1 + terms))` by default, as published.
        **heads: others of `MultiHead`, apart from norms of queries and keys; there are as many key heads as query
            heads.

    Raises:
        ValueError: `terms` is empty, or names another score; `n_kv_heads` differs from `n_heads`; when called, the
            stack has no vectors of distances.

    Example:
        >>> from functools import partial
        >>> from omniformer.core.disentangled import DisentangledTransformer
        >>> from omniformer.core.distances import DistanceVectors
        >>> from omniformer.core.layout import Layout
        >>> parts = {"attention": DisentangledAttention, "distances": partial(DistanceVectors, n_buckets=8)}
        >>> core = DisentangledTransformer(d_model=8, n_layers=2, n_heads=2, **parts)
        >>> core(torch.randn(5, 8), Layout.from_lengths(2, 3)).shape
        torch.Size([5, 8])
    """

    def __init__(
        self,
        *,
        terms: Sequence[Term] = _TERMS,
        own_maps: bool = False,
        distance_dropout: BelowOne = 0.0,
        scale: NotNegative | None = None,
        **heads: Any,
    ) -> None:
        super().__init__(**heads, scale=scale, qk_norm=None)
        checks.below_one(distance_dropout=distance_dropout)
        if not terms or set(terms) - set(_TERMS):
            raise ValueError(f"terms={list(terms)} must name one or two of {', '.join(_TERMS)}")
        if self.n_kv_heads != self.n_heads:
            raise ValueError(f"n_kv_heads={self.n_kv_heads} must be n_heads={self.n_heads}: keys have distances too")
        self.terms = tuple(term for term in _TERMS if term in terms)
        self.scale = (self.head_dim * (1 + len(self.terms))) ** -0.5 if scale is None else scale
        self.distance_dropout = Dropout(distance_dropout)
        self.of_distances = self.map_in(len(self.terms) * self.n_heads) if own_maps else None

    def collect(self, x: Tensor, context: Context) -> Tensor:
        """What the heads of each token collect, `[tokens, heads, head_dim]`."""
        if context.distances is None:
            raise ValueError(
                "disentangled attention needs the vectors of distances of its stack; use core "
                "omniformer.core.disentangled.DisentangledTransformer"
            )
        q, k, v = self.project(x, context)
        if context.cache is not None:
            k, v = context.cache.append(k, v)
        found = self.maps_of(self.distance_dropout(context.distances.vectors))
        read = {"content_to_position": q, "position_to_content": k if k.ndim == 3 else k.flatten(0, 1)}
        scores = {
            term: einsum(read[term], found[term], "tokens heads f, distances heads f -> heads tokens distances")
            for term in self.terms
        }
        bias: Any = _Disentangled(context.bias, scores, context.distances.row, self.scale)
        return self.attend(q, k, v, context.plan, bias)

    def maps_of(self, vectors: Tensor) -> dict[str, Tensor]:
        """The keys and queries of distances, by the score that they are for.

        Shapes:
            `[distances, d_model]` → `[distances, heads, head_dim]` each.
        """
        if self.of_distances is not None:
            apart = self.apart(self.of_distances(vectors))
            return dict(zip(self.terms, apart.split(self.n_heads, dim=1), strict=True))
        q, k, _ = self.apart(self.qkv(vectors)).split(self.n_heads, dim=1)
        return {"content_to_position": k, "position_to_content": q}

    @property
    def rotated_width(self) -> int | None:
        return None  # distances are said otherwise

    @property
    def projections(self) -> dict[str, Projection]:
        rows = self.n_heads * self.head_dim
        own = {} if self.of_distances is None else stack("of_distances", **dict.fromkeys(self.terms, rows))
        return super().projections | own


class _Disentangled:
    """The scores of distances as a bias, beside another where there is one."""

    def __init__(
        self, bias: Bias | None, scores: dict[str, Tensor], row: Callable[[View, View], Tensor], scale: float
    ) -> None:
        self.bias, self.scores, self.row, self.scale = bias, scores, row, scale

    def __call__(self, query: View, key: View) -> Tensor:
        row = self.row(query, key)
        token = {"content_to_position": query.token, "position_to_content": key.token}
        total = sum(_picked(each, token[term], row) for term, each in self.scores.items()) * self.scale
        return torch.as_tensor(total if self.bias is None else total + self.bias(query, key))


def _picked(scores: Tensor, token: Tensor, row: Tensor) -> Tensor:
    """For each pair the score of its token with its distance.

    Shapes:
        scores `[heads, tokens, distances]`, token and row int64 that broadcast to `[*pairs]` → `[heads, *pairs]`.
    """
    place = token * scores.shape[2] + row
    return scores.flatten(1).index_select(1, place.flatten()).view(len(scores), *place.shape)
