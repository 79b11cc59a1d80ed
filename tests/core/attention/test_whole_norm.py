"""Queries and keys normalised over all heads."""

import torch

from omniformer.core.attention.multihead import Context, SelfAttention
from omniformer.core.attention.plan import lower
from omniformer.core.attention.whole_norm import WholeNormAttention
from omniformer.core.layout import Layout
from omniformer.core.norm import RMSNorm
from omniformer.core.rules import Causal

LAYOUT = Layout.from_lengths(3, 2)


def test_one_norm_over_all_heads_before_the_scores():
    attention = WholeNormAttention(d_model=12, n_heads=4, n_kv_heads=2, whole_norm=RMSNorm)
    plain = SelfAttention(d_model=12, n_heads=4, n_kv_heads=2)
    plain.qkv, plain.out = attention.qkv, attention.out
    torch.nn.init.uniform_(attention.q_norm.norm.weight)
    torch.nn.init.uniform_(attention.k_norm.norm.weight)
    x, context = torch.randn(5, 12), Context(plan=lower(Causal(), LAYOUT))
    q, k, v = attention.project(x, context)
    raw_q, raw_k, raw_v = plain.project(x, context)
    for found, raw, norm in ((q, raw_q, attention.q_norm.norm), (k, raw_k, attention.k_norm.norm)):
        flat = raw.flatten(1)
        expected = flat / (flat.square().mean(1, keepdim=True) + norm.eps).sqrt() * norm.weight
        torch.testing.assert_close(found.flatten(1), expected)
    assert torch.equal(v, raw_v)
    torch.testing.assert_close(attention(x, context), attention.join(attention.attend(q, k, v, context.plan, None)))
