"""Attention over one sample after the other, heads of a group beside each other."""

import torch
from torch import Tensor

from omniformer.core.attention.kernel import Kernel, Weighing
from omniformer.core.attention.reference import dense_attention, no_tokens
from omniformer.core.layout import Layout
from omniformer.core.rules import Rule


class OneByOne(Kernel):
    """Nothing is padded, and no key is repeated for the heads that share it."""

    name = "one by one"

    def __init__(self, rule: Rule, layout: Layout, key_layout: Layout) -> None:
        self.rule, self.layout, self.key_layout = rule, layout, key_layout

    def attend(self, q: Tensor, k: Tensor, v: Tensor, how: Weighing) -> Tensor:
        n, n_keys = self.layout.lengths.tolist(), self.key_layout.lengths.tolist()
        token, key_token = self.layout.view().token.split(n), self.key_layout.view().token.split(n_keys)
        outs = [no_tokens(q, k, v, how.bias, self.layout, self.key_layout)]
        for ours, theirs, *qkv in zip(token, key_token, q.split(n), k.split(n_keys), v.split(n_keys), strict=True):
            query, key = self.layout.view(ours)[:, None], self.key_layout.view(theirs)[None, :]
            mask = self.rule.attend(query, key).expand(len(ours), len(theirs))[None, None]
            bias = None if how.bias is None else how.bias(query, key)[None]
            options = {"scale": how.scale, "score": how.score, "dropout": how.dropout}
            out = dense_attention(*(x.transpose(0, 1)[None] for x in qkv), mask=mask, bias=bias, **options)
            outs.append(out[0].transpose(0, 1))
        return torch.cat(outs)
