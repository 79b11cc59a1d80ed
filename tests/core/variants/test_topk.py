from functools import partial

import pytest
import torch

from omniformer.core.attention.multihead import Context, SelfAttention
from omniformer.core.attention.plan import lower
from omniformer.core.biases import ALiBi
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Window
from omniformer.core.variants.topk import TopKAttention

LAYOUT = Layout.from_lengths(5, 0, 7, 1)


def build(top_k, **others):
    torch.manual_seed(0)
    return TopKAttention(d_model=8, n_heads=2, top_k=top_k, **others)


@pytest.mark.parametrize("rule", [Full(), Causal(), Window(left=1, right=2)])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_each_query_reads_its_best_allowed_keys_alone(top_k, rule):
    layer, x, bias = build(top_k), torch.randn(13, 8), ALiBi(n_heads=2)
    q, k, v = layer.project(x, Context(plan=lower(rule, LAYOUT)))
    mask, collected = rule.mask(LAYOUT), torch.zeros(13, 2, 4)
    numbers = bias(LAYOUT.view()[:, None], LAYOUT.view()[None, :])
    for token in range(13):
        allowed = mask[token].nonzero().flatten()
        for head in range(2):
            scores = k[allowed, head] @ q[token, head] / 2 + numbers[head, token, allowed]
            best = scores.argsort(descending=True)[:top_k]
            collected[token, head] = scores[best].softmax(0) @ v[allowed[best], head]
    expected = layer.out(collected.flatten(1))
    out = layer(x, Context(plan=lower(rule, LAYOUT), bias=bias))
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)


def test_with_room_for_all_keys_it_is_plain_attention():
    layer, x = build(7), torch.randn(13, 8)
    plain = SelfAttention(d_model=8, n_heads=2)
    plain.load_state_dict(layer.state_dict())
    context = Context(plan=lower(Causal(), LAYOUT))
    torch.testing.assert_close(layer(x, context), plain(x, context), rtol=1e-5, atol=1e-6)


def test_keys_beyond_the_best_get_no_gradient_and_samples_stay_apart():
    layer = build(1)
    x = torch.randn(13, 8)
    changed = x.clone()
    changed[5:12] = torch.nan
    context = Context(plan=lower(Full(), LAYOUT))
    before, after = layer(x, context), layer(changed, context)
    assert torch.equal(before[LAYOUT.sample != 2], after[LAYOUT.sample != 2])
    leaf = torch.randn(13, 2, 4, requires_grad=True)
    layer.attend(torch.randn(13, 2, 4), torch.randn(13, 2, 4), leaf, context.plan, None)[0, 0].sum().backward()
    assert (leaf.grad.abs().sum((1, 2)) > 0).sum() == 1


def test_an_impossible_number_is_told():
    with pytest.raises(ValueError, match="top_k=0"):
        partial(build, 0)()
