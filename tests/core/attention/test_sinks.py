import pytest
import torch

from omniformer.core.attention.multihead import Context
from omniformer.core.attention.plan import lower
from omniformer.core.attention.sinks import SinkAttention
from omniformer.core.cache import KVCache
from omniformer.core.layout import Layout
from omniformer.core.padded import PaddedLayout
from omniformer.core.rules import Causal, Window
from omniformer.core.transformer import Transformer
from omniformer.inspection.maps import attention_maps

LAYOUT = Layout.from_lengths(5, 0, 3)


def by_hand(attention, x, lengths, left):
    """Every query in turn: a softmax over its keys and one number more."""
    q, k, v = attention.qkv(x).unflatten(1, (-1, attention.head_dim)).split([4, 2, 2], dim=1)
    rows, start = [], 0
    for length in lengths:
        for i in range(length):
            keys = slice(start + max(0, i - left), start + i + 1)
            heads = []
            for head in range(4):
                scores = k[keys, head // 2] @ q[start + i, head] / attention.head_dim**0.5
                weights = torch.cat([scores, attention.sink[head : head + 1]]).softmax(0)[:-1]
                heads.append(weights @ v[keys, head // 2])
            rows.append(torch.cat(heads))
        start += length
    return attention.out(torch.stack(rows))


@pytest.mark.parametrize("kernel", ["auto", "banded", "reference"])
def test_it_is_a_softmax_over_the_keys_and_a_number_more(kernel):
    torch.manual_seed(0)
    attention = SinkAttention(d_model=12, n_heads=4, n_kv_heads=2).double()
    with torch.no_grad():
        attention.sink.copy_(torch.tensor([-1.0, 0.0, 2.0, 30.0]))
    x = torch.randn(8, 12, dtype=torch.float64)
    rule = Causal() & Window(left=2)
    found = attention(x, Context(plan=lower(rule, LAYOUT, kernel=kernel)))
    expected = by_hand(attention, x, (5, 0, 3), 2)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    weights = list(attention.parameters())
    ours, theirs = (torch.autograd.grad(out.sin().sum(), weights) for out in (found, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def core():
    torch.manual_seed(0)
    built = Transformer(d_model=12, n_layers=2, n_heads=4, n_kv_heads=2, attention=SinkAttention, init_std=0.4).eval()
    with torch.no_grad():
        for block in built.blocks:
            block.attention.branch.sink.normal_()
    return built


def test_a_cache_and_padded_rows_say_the_same():
    built, x, layout = core(), torch.randn(5, 12), Layout.from_lengths(5)
    whole, cache = built(x, layout, Causal()), KVCache(n_layers=2, n_samples=1)
    with torch.no_grad():
        steps = [built(x[i : i + 1], cache.extend(torch.tensor([1]))[0], Causal(), cache=cache) for i in range(5)]
    torch.testing.assert_close(torch.cat(steps), whole, rtol=1e-5, atol=1e-5)
    rows = PaddedLayout(valid=torch.tensor([[False, True, True, True, True, True]]))
    padded = built(torch.cat([x[:1], x]), rows, Causal())
    torch.testing.assert_close(padded[1:], whole, rtol=1e-5, atol=1e-5)


def test_maps_show_what_the_sinks_left():
    maps = attention_maps(core(), torch.randn(8, 12), LAYOUT, Causal())
    totals = torch.cat([weights.sum(-1).flatten() for samples in maps for weights in samples])
    assert ((totals > 0) & (totals < 1)).all()


def test_a_fresh_sink_is_a_key_of_score_zero():
    assert SinkAttention(d_model=8, n_heads=2).sink.tolist() == [0.0, 0.0]
