from functools import partial

import pytest
import torch

from omniformer.core.attention.latent import LatentAttention
from omniformer.core.attention.multihead import Context
from omniformer.core.attention.plan import lower
from omniformer.core.cache import KVCache
from omniformer.core.layout import Layout
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal
from omniformer.core.transformer import Transformer

SIZES = {"d_model": 16, "n_heads": 4, "kv_rank": 6, "rotated": 2}


@pytest.mark.parametrize("q_rank", [None, 5])
def test_every_head_has_keys_and_values_made_of_the_latent_vector(q_rank):
    torch.manual_seed(0)
    attention = LatentAttention(**SIZES, q_rank=q_rank).double()
    x, layout = torch.randn(5, 16, dtype=torch.float64), Layout.from_lengths(5)
    turn = Rotary(head_dim=2)(layout)
    cos, sin = turn.cos[:, 0, 0].double(), turn.sin[:, 0, 0].double()

    def turned(pair, place):
        return torch.stack([pair[0] * cos[place] - pair[1] * sin[place], pair[1] * cos[place] + pair[0] * sin[place]])

    latents = attention.kv_down(x)[:, :6]
    latents = latents / (latents.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    queries = x if q_rank is None else attention.q_down(x)
    if q_rank is not None:
        queries = queries / (queries.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    rows = []
    for i in range(5):
        heads = []
        for h in range(4):
            query = attention.q(queries[i])[6 * h : 6 * h + 6]
            scores, values = [], []
            for j in range(i + 1):
                both = attention.kv_up.weight[8 * h : 8 * h + 8] @ latents[j]
                key = torch.cat([both[:4], turned(attention.kv_down(x[j])[6:], j)])
                scores.append(torch.cat([query[:4], turned(query[4:], i)]) @ key / 6**0.5)
                values.append(both[4:])
            heads.append(torch.stack(scores).softmax(0) @ torch.stack(values))
        rows.append(torch.cat(heads))
    expected = attention.out(torch.stack(rows))
    found = attention(x, Context(plan=lower(Causal(), layout), rotation=turn))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("steps", [[(1, 1)] * 5, [(3, 1), (1, 0), (1, 4)]])
def test_by_latents_step_by_step_equals_by_heads_in_one_pass(steps):
    torch.manual_seed(0)
    latent = partial(LatentAttention, kv_rank=6, rotated=2, q_rank=5)
    core = Transformer(d_model=16, n_layers=2, n_heads=4, attention=latent, rotary=Rotary, init_std=0.4).eval()
    x, cache, start, rows = torch.randn(10, 16), KVCache(n_layers=2, n_samples=2), [0, 5], [[], []]
    with torch.no_grad():
        for step in steps:
            layout, _ = cache.extend(torch.tensor(step))
            new = torch.cat([x[first : first + n] for first, n in zip(start, step, strict=True)])
            out = core(new, layout, Causal(), cache=cache).split(list(step))
            for row, each in zip(rows, out, strict=True):
                row.append(each)
            start = [first + n for first, n in zip(start, step, strict=True)]
        whole = core(x, Layout.from_lengths(5, 5), Causal())
    torch.testing.assert_close(torch.cat([*rows[0], *rows[1]]), whole, rtol=1e-4, atol=1e-5)
    held = sum(rows._rows[0, 0].numel() for rows in (cache.layers[0]._k, cache.layers[0]._v))
    assert held == core.blocks[0].attention.branch.cached_per_token == 8


def test_fewer_keys_than_heads_are_refused():
    with pytest.raises(ValueError, match="every head has keys of its own"):
        LatentAttention(**SIZES, n_kv_heads=2)
