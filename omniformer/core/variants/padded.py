"""Samples as padded blocks, for attention that no kernel offers and that is written out in full."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.attention.plan import Plan
from omniformer.core.attention.reference import masked_softmax
from omniformer.core.attention.rows import token_rows
from omniformer.core.biases import Bias
from omniformer.core.layout import Layout, View


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaddedBlock:
    """All samples of a plan as rows of one block, short ones padded.

    Shapes:
        query and key int64 `[samples, queries]` and `[samples, keys]`, token numbers; mask bool `[samples, 1, queries,
        keys]`, True where a pair takes part.
    """

    plan: Plan
    query: Tensor
    key: Tensor
    mask: Tensor

    @classmethod
    def of(cls, plan: Plan) -> "PaddedBlock":
        """The block of a plan."""
        query, query_valid = _rows(plan.layout)
        key, key_valid = _rows(plan.key_layout)
        attend = plan.rule.attend(View(plan.layout, query[:, :, None]), View(plan.key_layout, key[:, None, :]))
        mask = attend & query_valid[:, :, None] & key_valid[:, None, :]
        return cls(plan=plan, query=query, key=key, mask=mask[:, None])

    def queries(self, packed: Tensor) -> Tensor:
        """Packed queries as a block.

        Shapes:
            `[tokens, heads, head_dim]` → `[samples, heads, queries, head_dim]`.
        """
        return rearrange(packed[self.query], "samples queries heads head_dim -> samples heads queries head_dim")

    def keys(self, packed: Tensor, n_heads: int) -> Tensor:
        """Packed keys or values as a block, repeated so that every query head has its own.

        Shapes:
            `[key tokens, kv_heads, head_dim]` → `[samples, heads, keys, head_dim]`.
        """
        rows = rearrange(packed[self.key], "samples keys kv_heads head_dim -> samples kv_heads keys head_dim")
        return rows.repeat_interleave(n_heads // rows.shape[1], dim=1)

    def bias(self, bias: Bias | None) -> Tensor | float:
        """A bias on all pairs of the block, `[samples, heads, queries, keys]`; 0 without one."""
        if bias is None:
            return 0.0
        pairs = bias(View(self.plan.layout, self.query[:, :, None]), View(self.plan.key_layout, self.key[:, None, :]))
        return rearrange(pairs, "heads samples queries keys -> samples heads queries keys")

    def packed(self, block: Tensor) -> Tensor:
        """The way back.

        Shapes:
            `[samples, heads, queries, head_dim]` → `[tokens, heads, head_dim]`.
        """
        rows = rearrange(block, "samples heads queries head_dim -> samples queries heads head_dim")
        layout = self.plan.layout
        return rows[layout.sample, torch.arange(layout.n_tokens, device=layout.device) - layout.offsets[layout.sample]]


class PaddedAttention(SelfAttention, ABC):
    """Self-attention written out on a padded block, for scores that no kernel knows.

    A subclass gives `scores`, and leaves keys out by `chosen`.

    Args:
        **heads: those of `MultiHead`, all of them.
    """

    not_exported = "it lays out samples by the lengths at hand"

    @abstractmethod
    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        """The scaled score of each pair.

        Shapes:
            q `[samples, heads, queries, head_dim]`, k `[samples, heads, keys, head_dim]` → `[samples, heads, queries,
            keys]`.
        """

    def chosen(self, scores: Tensor, mask: Tensor) -> Tensor:
        """The pairs that count, of those that take part."""
        return mask

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: Plan, bias: Bias | None) -> Tensor:
        block = PaddedBlock.of(plan)
        k, v = (block.keys(x.flatten(0, -3), self.n_heads) for x in (k, v))
        scores = self.scores(block.queries(q), k)
        if self.score is not None:
            scores = self.score(scores)
        scores = scores + block.bias(self.biases(bias))
        weights = masked_softmax(scores, self.chosen(scores, block.mask))
        return block.packed(F.dropout(weights, self.dropout, self.training) @ v)


def _rows(layout: Layout) -> tuple[Tensor, Tensor]:
    """Token numbers of all samples as rows, and which are real; an empty sample shows some token of the batch."""
    rows, valid = token_rows(layout.offsets[:-1], layout.lengths.to(layout.device))
    return rows.clamp(max=max(layout.n_tokens - 1, 0)), valid
