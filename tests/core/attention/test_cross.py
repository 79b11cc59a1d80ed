"""Cross-attention; beside torch.nn.TransformerDecoder it stands in ../test_against_torch.py."""

import pytest
import torch

from omniformer.core.attention.cross import CrossAttention
from omniformer.core.attention.multihead import Context
from omniformer.core.attention.plan import lower
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.rules import Full, Modalities

LAYOUT, MEMORY = Layout.from_lengths(2, 3, 1), Layout.from_lengths(4, 0, 2)


def build(**others):
    torch.manual_seed(0)
    return CrossAttention(**{"d_model": 8, "n_heads": 4, "n_kv_heads": 2, "d_memory": 5, **others})


def context(tokens, rule=None, layout=MEMORY):
    memory = Memory(x=tokens, layout=layout, rule=rule or Full())
    return Context(plan=lower(Full(), LAYOUT), memory=memory, memory_plan=lower(memory.rule, LAYOUT, layout))


def test_each_token_reads_the_memory_of_its_own_sample():
    layer, x, memory = build(), torch.randn(6, 8), torch.randn(6, 5)
    q = layer.q(x).view(6, 4, 2)
    k, v = layer.kv(memory).view(6, 4, 2).chunk(2, dim=1)
    collected = torch.zeros(6, 4, 2)
    for token in range(6):
        keys = (MEMORY.sample == LAYOUT.sample[token]).nonzero().flatten()
        for head in range(4):
            if len(keys):
                weights = (k[keys, head // 2] @ q[token, head] * 2**-0.5).softmax(0)
                collected[token, head] = weights @ v[keys, head // 2]
    expected = layer.out(collected.flatten(1))
    torch.testing.assert_close(layer(x, context(memory)), expected, rtol=1e-5, atol=1e-6)


def test_a_sample_without_memory_collects_nothing_and_has_no_gradient():
    layer = build()
    x, memory = torch.randn(6, 8, requires_grad=True), torch.randn(6, 5)
    out = layer(x, context(memory))
    torch.testing.assert_close(out[2:5], layer.out.bias.expand(3, 8))
    (gradient,) = torch.autograd.grad(out.square().sum(), x)
    assert not gradient[2:5].any()
    assert gradient.isfinite().all()


def test_the_memorys_rule_says_which_of_its_tokens_are_read():
    layer, x, memory = build(), torch.randn(6, 8), torch.randn(6, 5, requires_grad=True)
    layout = Layout(lengths=MEMORY.lengths, modality=torch.tensor([0, 1, 0, 1, 0, 1]))
    reader = Layout(lengths=LAYOUT.lengths, modality=torch.zeros(6, dtype=torch.long))
    rule = Modalities([[1], [0]])
    given = Memory(x=memory, layout=layout, rule=rule)
    plan = lower(rule, reader, layout)
    out = layer(x, Context(plan=lower(Full(), reader), memory=given, memory_plan=plan))
    (gradient,) = torch.autograd.grad(out.square().sum(), memory)
    assert torch.equal(gradient.abs().sum(-1) > 0, layout.modality == 1)


def test_what_is_missing_is_told():
    layer, x = build(), torch.zeros(6, 8)
    with pytest.raises(ValueError, match=r"call the core with memory=Memory"):
        layer(x, Context(plan=lower(Full(), LAYOUT)))
    with pytest.raises(ValueError, match="tokens have 8 features, this cross-attention reads d_memory=5"):
        layer(x, context(torch.zeros(6, 8)))
    with pytest.raises(ValueError, match="n_kv_heads=3 does not divide n_heads=4"):
        build(n_kv_heads=3)
