import pytest
import torch

from omniformer.core.attention.multihead import Context
from omniformer.core.attention.plan import lower
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full
from omniformer.core.variants.additive import AdditiveAttention

LAYOUT = Layout.from_lengths(4, 0, 3)


@pytest.mark.parametrize("rule", [Full(), Causal()])
def test_scores_are_a_small_network_of_query_and_key(rule):
    torch.manual_seed(0)
    layer, x = AdditiveAttention(d_model=8, n_heads=4, n_kv_heads=2), torch.randn(7, 8)
    q, k, v = layer.project(x, Context(plan=lower(rule, LAYOUT)))
    mask, collected = rule.mask(LAYOUT), torch.zeros(7, 4, 2)
    for token in range(7):
        keys = mask[token].nonzero().flatten()
        for head in range(4):
            scores = torch.stack([layer.weight[head] @ (q[token, head] + k[key, head // 2]).tanh() for key in keys])
            collected[token, head] = scores.softmax(0) @ v[keys, head // 2]
    out = layer(x, Context(plan=lower(rule, LAYOUT)))
    torch.testing.assert_close(out, layer.out(collected.flatten(1)), rtol=1e-5, atol=1e-6)


def test_samples_stay_apart_bit_for_bit():
    torch.manual_seed(0)
    layer, x = AdditiveAttention(d_model=8, n_heads=2), torch.randn(7, 8)
    changed = x.clone()
    changed[4:] = torch.nan
    context = Context(plan=lower(Full(), LAYOUT))
    assert torch.equal(layer(x, context)[:4], layer(changed, context)[:4])


def test_all_weights_learn():
    layer = AdditiveAttention(d_model=8, n_heads=2)
    layer(torch.randn(7, 8), Context(plan=lower(Full(), LAYOUT))).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())
