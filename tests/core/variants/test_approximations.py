"""What every approximation of attention must keep, as a part of a transformer."""

from functools import partial

import pytest
import torch

from omniformer.core.attention.plan import lower
from omniformer.core.biases import ALiBi
from omniformer.core.cache import KVCache
from omniformer.core.layout import Layout
from omniformer.core.norm import RMSNorm
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Full
from omniformer.core.transformer import Transformer
from omniformer.core.variants.linear import LinearAttention
from omniformer.core.variants.linformer import LinformerAttention
from omniformer.core.variants.performer import PerformerAttention
from omniformer.core.variants.reformer import ReformerAttention

KINDS = {
    "linear": LinearAttention,
    "performer": partial(PerformerAttention, n_features=16),
    "linformer": partial(LinformerAttention, max_seq_len=90, rank=8),
    "reformer": partial(ReformerAttention, n_buckets=4, chunk_size=8),
}
RULES = [(kind, rule) for kind in KINDS for rule in (Full(), Causal()) if (kind, rule) != ("linformer", Causal())]
LAYOUT = Layout.from_lengths(5, 0, 90, 1)


def core(kind, **options):
    torch.manual_seed(0)
    return Transformer(
        d_model=16, n_layers=2, n_heads=2, attention=partial(KINDS[kind], qk_norm=RMSNorm, bias=False), **options
    )


@pytest.mark.quick(3)
@pytest.mark.parametrize(("kind", "rule"), RULES)
def test_samples_together_equal_samples_alone(kind, rule):
    model = core(kind, rotary=Rotary)
    x = torch.randn(96, 16)
    alone = [model(part, Layout.from_lengths(len(part)), rule) for part in x.split([5, 0, 90, 1])]
    torch.testing.assert_close(model(x, LAYOUT, rule), torch.cat(alone), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "rule"), RULES)
def test_gradients_reach_every_weight(kind, rule):
    model = core(kind, rotary=Rotary, output_init="same")
    model(torch.randn(96, 16), LAYOUT, rule).square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.parametrize(("kind", "rule"), RULES)
def test_bfloat16_follows_float32(kind, rule):
    model = core(kind).double()
    x = torch.randn(96, 16, dtype=torch.float64)
    if kind == "reformer":  # near a border of buckets rounding decides, so all tokens share one here
        for block in model.blocks:
            block.attention.branch.directions.zero_()
    exact = model(x, LAYOUT, rule)
    rough = model.bfloat16()(x.bfloat16(), LAYOUT, rule)
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.double(), exact, rtol=5e-2, atol=5e-2)


@pytest.mark.parametrize("kind", ["linear", "performer"])
def test_autocast_leaves_long_sums_in_float32(kind):
    attention = KINDS[kind](d_model=16, n_heads=2)
    layout = Layout.from_lengths(4000)
    q, k = torch.randn(4000, 2, 8), torch.randn(4000, 2, 8)
    v = torch.ones(4000, 2, 8) * torch.linspace(0, 1, 4000)[:, None, None]
    plan = lower(Causal(), layout)
    exact = attention.attend(q, k, v, plan, None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(attention.attend(q, k, v, plan, None), exact)


@pytest.mark.parametrize("kind", ["linear", "performer", "linformer"])
def test_a_bias_is_refused_where_there_are_no_scores(kind):
    with pytest.raises(ValueError, match="has no scores to add a bias to"):
        core(kind, pair_bias=ALiBi)(torch.randn(96, 16), LAYOUT)


@pytest.mark.parametrize("kind", ["linformer", "reformer"])
def test_a_cache_is_refused_where_keys_are_not_kept(kind):
    cache = KVCache(n_layers=2, n_samples=1)
    layout, _ = cache.extend(torch.tensor([3]))
    with pytest.raises(ValueError, match="decode without a cache, or use SelfAttention"):
        core(kind)(torch.randn(3, 16), layout, Full(), cache=cache)
