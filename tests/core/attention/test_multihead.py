"""Attention as a layer; beside torch.nn.MultiheadAttention it stands in ../test_against_torch.py."""

from functools import partial

import pytest
import torch

from omniformer.config.build import locate
from omniformer.config.docs import meaning
from omniformer.config.signature import signature
from omniformer.core.attention.multihead import Context, SelfAttention, head_dim_of
from omniformer.core.attention.plan import lower
from omniformer.core.biases import ALiBi
from omniformer.core.layout import Layout
from omniformer.core.norm import RMSNorm
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Full

LAYOUT = Layout.from_lengths(4, 1, 3)


def build(**others):
    torch.manual_seed(0)
    return SelfAttention(**{"d_model": 12, "n_heads": 4, **others})


def context(rule=None, **others):
    return Context(plan=lower(rule or Causal(), LAYOUT), **others)


def by_hand(layer, x, rule, *, scale, rotate=lambda x: x, bias=0.0):
    """The whole layer head by head, token by token."""
    heads, kv_heads, width = layer.n_heads, layer.n_kv_heads, layer.head_dim
    q, k, v = layer.qkv(x).split([heads * width, kv_heads * width, kv_heads * width], dim=1)
    q, k, v = (each.view(len(x), -1, width) for each in (q, k, v))
    q, k = rotate(layer.q_norm(q)), rotate(layer.k_norm(k))
    mask, out = rule.mask(LAYOUT), torch.zeros(len(x), heads, width)
    for head in range(heads):
        shared = head // (heads // kv_heads)
        scores = q[:, head] @ k[:, shared].T * scale + (bias[head] if torch.is_tensor(bias) else bias)
        out[:, head] = scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v[:, shared]
    return layer.out(out.flatten(1))


@pytest.mark.parametrize("n_kv_heads", [4, 2, 1])
@pytest.mark.parametrize("rule", [Full(), Causal()])
def test_groups_of_query_heads_share_a_key_head(n_kv_heads, rule):
    layer, x = build(n_kv_heads=n_kv_heads), torch.randn(8, 12)
    torch.testing.assert_close(layer(x, context(rule)), by_hand(layer, x, rule, scale=3**-0.5), rtol=1e-5, atol=1e-6)


def test_heads_may_be_wider_than_their_share_of_the_width():
    layer, x = build(head_dim=8), torch.randn(8, 12)
    assert layer.qkv.weight.shape == (3 * 32, 12)
    torch.testing.assert_close(layer(x, context()), by_hand(layer, x, Causal(), scale=8**-0.5), rtol=1e-5, atol=1e-6)


def test_queries_and_keys_are_normalised_before_they_are_rotated():
    layer, x = build(n_kv_heads=2, head_dim=4, qk_norm=RMSNorm), torch.randn(8, 12)
    with torch.no_grad():
        layer.q_norm.weight.copy_(torch.rand(4) + 1)
        layer.k_norm.weight.copy_(torch.rand(4) + 1)
    rotation = Rotary(head_dim=4)(LAYOUT)
    expected = by_hand(layer, x, Causal(), scale=0.5, rotate=rotation)
    torch.testing.assert_close(layer(x, context(rotation=rotation)), expected, rtol=1e-5, atol=1e-6)


def test_qk_norm_keeps_scores_small_however_large_the_tokens_are():
    layer = build(qk_norm=RMSNorm)
    q, k, _ = layer.project(torch.randn(8, 12) * 1e4, context())
    assert torch.einsum("qhd,khd->hqk", q, k).abs().max() <= layer.head_dim * 1.001


def test_scale_is_the_factor_of_the_scores():
    layer, x = build(scale=1.0), torch.randn(8, 12)
    torch.testing.assert_close(layer(x, context()), by_hand(layer, x, Causal(), scale=1.0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("where", ["layer", "context", "both"])
def test_biases_of_layer_and_batch_are_added(where):
    layer, x = build(pair_bias=ALiBi if where != "context" else None), torch.randn(8, 12)
    bias = ALiBi(n_heads=4)
    numbers = bias(LAYOUT.view()[:, None], LAYOUT.view()[None, :]) * (2 if where == "both" else 1)
    out = layer(x, context(bias=None if where == "layer" else bias))
    torch.testing.assert_close(out, by_hand(layer, x, Causal(), scale=3**-0.5, bias=numbers), rtol=1e-5, atol=1e-6)


def test_dropout_of_weights_acts_in_training_alone():
    layer, x = build(dropout=0.5), torch.randn(8, 12)
    assert not torch.equal(layer(x, context()), layer(x, context()))
    layer.eval()
    assert torch.equal(layer(x, context()), layer(x, context()))


def test_unit_variance_queries_and_keys_give_scores_of_unit_variance():
    torch.manual_seed(0)
    q, k = torch.randn(2, 20_000, 64)
    raw = (q * k).sum(-1)
    assert raw.var().item() == pytest.approx(64, rel=0.05)
    assert (raw * 64**-0.5).var().item() == pytest.approx(1, rel=0.05)


def test_softmax_of_scaled_scores_gives_the_published_weights():
    scores = torch.tensor([0.30, 0.96, 0.10, 0.00, 0.30, 0.20])
    # One query [1, 0, 0, 0] and keys whose first feature is the score: head_dim 4 divides by sqrt(4).
    layout = Layout.from_lengths(6)
    q = torch.zeros(6, 1, 4)
    q[:, 0, 0] = 1
    k = torch.zeros(6, 1, 4)
    k[:, 0, 0] = scores
    weights = lower(Full(), layout).weights(q, k)[0][0, 0]
    assert weights.tolist() == pytest.approx([0.164, 0.228, 0.148, 0.141, 0.164, 0.156], abs=5e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(build, n_heads=5), "n_heads=5 does not divide d_model=12"),
        (partial(build, n_heads=0), "n_heads=0 must be at least 1"),
        (partial(build, n_kv_heads=3), "n_kv_heads=3 does not divide n_heads=4"),
    ],
)
def test_impossible_heads_are_told(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def keys(path):
    return set(signature(f"omniformer.core.{path}").parameters)


# What a layer has no place for; each says why in its docstring.
WITHOUT = {
    "attention.multihead.SelfAttention": set(),
    "attention.cross.CrossAttention": set(),
    "attention.key_offsets.SelfAttentionWithoutKeyOffset": {"bias"},
    "attention.key_offsets.CrossAttentionWithoutKeyOffset": {"bias"},
    "variants.additive.AdditiveAttention": set(),
    "variants.linear.LinearAttention": {"score", "scale", "pair_bias", "dropout"},
    "variants.linformer.LinformerAttention": {"pair_bias"},
    "variants.performer.PerformerAttention": {"score", "scale", "pair_bias", "dropout"},
    "variants.reformer.ReformerAttention": set(),
    "variants.topk.TopKAttention": set(),
    "variants.value_residual.ValueResidualAttention": set(),
}


@pytest.mark.parametrize(("path", "without"), WITHOUT.items(), ids=WITHOUT)
def test_every_layer_takes_the_same_keys_but_for_those_that_mean_nothing_to_it(path, without):
    shared = keys("attention.multihead.MultiHead")
    assert shared - keys(path) == without
    kind = locate(f"omniformer.core.{path}")
    sizes = {"d_model": 12, "n_heads": 4} | ({"max_seq_len": 8, "rank": 2} if "max_seq_len" in keys(path) else {})
    for key in without:
        with pytest.raises(TypeError, match=key):
            kind(**sizes, **{key: None})
    assert kind(**sizes, out_bias=False).out.bias is None
    described = signature(f"omniformer.core.{path}")
    unsaid = [name for name, each in described.parameters.items() if not said(described.definition, name, each)]
    assert unsaid == []


def said(definition, name, parameter):
    return meaning(definition, name) or meaning(parameter.owner, name)


def test_head_dim_is_the_share_of_a_head():
    assert head_dim_of(12, 4) == 3
