import math

import pytest
import torch

from omniformer.core.attention.differential import DifferentialAttention
from omniformer.core.attention.multihead import Context
from omniformer.core.attention.plan import lower
from omniformer.core.cache import KVCache
from omniformer.core.layout import Layout
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal
from omniformer.core.transformer import Transformer


def by_hand(attention, x, lengths, layer):
    """Every query and pair of heads in turn, after equations 1 to 3 of the paper."""
    heads, kv, width = attention.n_heads, attention.n_kv_heads, attention.head_dim
    q, k, v = attention.qkv(x).unflatten(1, (heads + 2 * kv, width)).split([heads, kv, kv], dim=1)
    a, b, c, d = attention.vectors
    start = 0.8 - 0.6 * math.exp(-0.3 * layer)
    share = (a @ b).exp() - (c @ d).exp() + start
    rows, begin = [], 0
    for length in lengths:
        for i in range(begin, begin + length):
            keys, row = slice(begin, i + 1), []
            for head in range(heads // 2):
                maps = []
                for each in (head, head + heads // 2):
                    maps.append((k[keys, each * kv // heads] @ q[i, each] / width**0.5).softmax(0))
                of = head * kv // heads  # a pair shares values, as wide as both of its heads
                value = torch.cat([v[keys, of], v[keys, of + kv // 2]], dim=-1)
                found = (maps[0] - share * maps[1]) @ value
                row.append(found / (found.square().mean() + 1e-5).sqrt() * (1 - start))
            rows.append(torch.cat(row))
        begin += length
    return attention.out(torch.stack(rows))


@pytest.mark.parametrize(("n_kv_heads", "kernel"), [(4, "auto"), (2, "reference"), (2, "dense")])
def test_the_maps_of_partners_are_taken_away(n_kv_heads, kernel):
    torch.manual_seed(0)
    attention = DifferentialAttention(d_model=12, n_heads=4, n_kv_heads=n_kv_heads).double()
    attention.draw_weights(0.5, 0.5)
    torch.nn.init.normal_(attention.vectors, std=0.7)
    x, lengths = torch.randn(7, 12, dtype=torch.float64), (4, 0, 3)
    plan = lower(Causal(), Layout.from_lengths(*lengths), kernel=kernel)
    found, expected = attention(x, Context(plan=plan, layer=2)), by_hand(attention, x, lengths, 2)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    weights = list(attention.parameters())
    for one, other in zip(*(torch.autograd.grad(each.sin().sum(), weights) for each in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_it_decodes_as_it_reads():
    torch.manual_seed(0)
    core = Transformer(d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, attention=DifferentialAttention, rotary=Rotary)
    core, x, cache = core.eval(), torch.randn(12, 16), KVCache(n_layers=2, n_samples=2)
    whole = core(x, Layout.from_lengths(6, 6), Causal())
    with torch.inference_mode():
        for lengths, rows in (((4, 5), [0, 1, 2, 3, 6, 7, 8, 9, 10]), ((1, 1), [4, 11]), ((1, 0), [5])):
            layout, _ = cache.extend(torch.tensor(lengths))
            out = core(x[rows], layout, Causal(), cache=cache)
            torch.testing.assert_close(out, whole[rows], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"n_heads": 3}, {"n_heads": 4, "n_kv_heads": 1}])
def test_heads_without_a_partner_are_refused(options):
    with pytest.raises(ValueError, match="must be even: every head lends to another"):
        DifferentialAttention(d_model=12, **options)
