from functools import partial

import pytest
import torch

from omniformer.core.attention.gated_positions import GatedPositionAttention
from omniformer.core.attention.multihead import Context
from omniformer.core.attention.plan import lower
from omniformer.core.biases import T5Buckets
from omniformer.core.layout import Layout
from omniformer.core.rules import Full
from omniformer.core.transformer import Transformer

LENGTHS = (5, 0, 3)
LAYOUT = Layout.from_lengths(*LENGTHS)


def by_hand(attention, bias, x):
    """Every query and head in turn."""
    q, k, v = attention.qkv(x).unflatten(1, (3, 2, 6)).unbind(1)
    rows, start = [], 0
    for length in LENGTHS:
        for i in range(length):
            keys, heads = slice(start, start + length), []
            for head in range(2):
                part = x[start + i, head * 6 : (head + 1) * 6]
                numbers = attention.gates(part)
                a, b = numbers[:4].sum().sigmoid(), numbers[4:].sum().sigmoid()
                factor = a * (b * attention.strength[head] - 1) + 2
                scores = k[keys, head] @ q[start + i, head] / 6**0.5
                table = bias.table[bias.bucket(torch.arange(length) - i), head]
                heads.append((scores + factor * table).softmax(0) @ v[keys, head])
            rows.append(torch.cat(heads))
        start += length
    return attention.out(torch.stack(rows))


@pytest.mark.parametrize("kernel", ["auto", "dense", "reference"])
def test_each_query_multiplies_what_is_said_of_its_pairs(kernel):
    torch.manual_seed(0)
    attention = GatedPositionAttention(d_model=12, n_heads=2).double()
    bias = T5Buckets(n_heads=2, n_buckets=8, max_distance=16).double()
    for part in (attention, bias):
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter)
    x = torch.randn(8, 12, dtype=torch.float64)
    found = attention(x, Context(plan=lower(Full(), LAYOUT, kernel=kernel), bias=bias))
    expected = by_hand(attention, bias, x)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    weights = [*attention.parameters(), *bias.parameters()]
    for one, other in zip(*(torch.autograd.grad(each.sin().sum(), weights) for each in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_it_begins_with_gates_half_open_and_needs_scores_to_gate():
    buckets = partial(T5Buckets, n_buckets=8, max_distance=16)
    core = Transformer(d_model=8, n_layers=1, n_heads=2, attention=GatedPositionAttention, pair_bias=buckets)
    attention = core.blocks[0].attention.branch
    torch.testing.assert_close(attention.gate(torch.zeros(3, 8)), torch.full((2, 3), 1.75))
    bare = Transformer(d_model=8, n_layers=1, n_heads=2, attention=GatedPositionAttention)
    with pytest.raises(ValueError, match="gated positions need a pair_bias of the stack"):
        bare(torch.zeros(3, 8), Layout.from_lengths(3))
    with pytest.raises(ValueError, match="n_heads=3 does not divide d_model=8"):
        GatedPositionAttention(d_model=8, n_heads=3, head_dim=4)
