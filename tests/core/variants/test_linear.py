import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omniformer.core.attention.multihead import Context
from omniformer.core.attention.plan import lower
from omniformer.core.cache import KVCache
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Window
from omniformer.core.transformer import Transformer
from omniformer.core.variants.linear import EluFeatures, FeatureMap, LinearAttention, ReluFeatures

LENGTHS = st.lists(st.sampled_from([0, 1, 2, 5, 63, 64, 65, 130]), min_size=1, max_size=4).filter(sum)


def run(attention, x, lengths, rule):
    return attention(x, Context(plan=lower(rule, Layout.from_lengths(*lengths))))


def slow(attention, x, lengths, rule):
    """Kernel attention with an explicit matrix for each sample, head and pair."""
    q, k, v = (t.detach() for t in attention.project(x, Context(plan=lower(rule, Layout.from_lengths(*lengths)))))
    fq, fk = attention.features.query(q), attention.features.key(k)
    out, start = torch.zeros_like(q), 0
    for n in lengths:
        for head in range(attention.n_heads):
            kv_head = head // (attention.n_heads // attention.n_kv_heads)
            weights = fq[start : start + n, head] @ fk[start : start + n, kv_head].T
            if isinstance(rule, Causal):
                weights = weights * torch.ones(n, n).tril()
            total = weights.sum(-1, keepdim=True)
            weights = torch.where(total > 0, weights / total, torch.zeros(()))
            out[start : start + n, head] = weights @ v[start : start + n, kv_head]
        start += n
    return attention.out(out.flatten(1))


@settings(max_examples=15, deadline=None)
@given(lengths=LENGTHS, rule=st.sampled_from([Full(), Causal()]), n_kv_heads=st.sampled_from([1, 2, 4]))
def test_sums_in_rows_equal_the_matrix_of_every_sample(lengths, rule, n_kv_heads):
    torch.manual_seed(0)
    attention = LinearAttention(d_model=16, n_heads=4, n_kv_heads=n_kv_heads)
    x = torch.randn(sum(lengths), 16)
    torch.testing.assert_close(
        run(attention, x, lengths, rule), slow(attention, x, lengths, rule), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("rule", [Full(), Causal()])
def test_gradients_are_right(rule):
    torch.manual_seed(1)
    attention = LinearAttention(d_model=4, n_heads=2)
    x = torch.randn(70, 4)

    def gradient(function):
        leaf = x.clone().requires_grad_()
        function(leaf).square().sum().backward()
        return leaf.grad

    layout = Layout.from_lengths(67, 0, 3)

    def written_out(leaf):
        q, k, v = attention.project(leaf, Context(plan=lower(rule, layout)))
        weights = torch.einsum("qhf,khf->hqk", attention.features.query(q), attention.features.key(k)) * rule.mask(
            layout
        )
        mixed = torch.einsum("hqk,khd->qhd", weights / weights.sum(-1, keepdim=True), v)
        return attention.out(mixed.flatten(1))

    mine = gradient(lambda leaf: attention(leaf, Context(plan=lower(rule, layout))))
    torch.testing.assert_close(mine, gradient(written_out), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rule", [Full(), Causal()])
def test_a_sample_changes_no_bit_of_its_neighbours_even_when_it_is_nan(rule):
    torch.manual_seed(2)
    attention = LinearAttention(d_model=8, n_heads=2)
    x = torch.randn(205, 8)
    other = x.clone()
    other[70:75] = torch.nan
    before, after = run(attention, x, [70, 5, 130], rule), run(attention, other, [70, 5, 130], rule)
    assert torch.equal(before[:70], after[:70])
    assert torch.equal(before[75:], after[75:])
    assert after[70:75].isnan().all()


def test_a_token_changes_no_bit_before_it_under_a_causal_rule():
    torch.manual_seed(3)
    attention = LinearAttention(d_model=8, n_heads=2)
    x = torch.randn(200, 8)
    for t in (0, 63, 64, 150):
        other = x.clone()
        other[t] += 1.0
        before, after = run(attention, x, [200], Causal()), run(attention, other, [200], Causal())
        assert torch.equal(before[:t], after[:t])
        assert not torch.equal(before[t:], after[t:])


def test_a_query_without_features_yields_zero_and_zero_gradient():
    attention = LinearAttention(d_model=4, n_heads=1, bias=False, feature_map=ReluFeatures)
    torch.nn.init.eye_(attention.qkv.weight[:4])
    x = torch.full((3, 4), -1.0, requires_grad=True)
    out = run(attention, x, [3], Full())
    out.sum().backward()
    assert torch.equal(out, torch.zeros(3, 4))
    assert torch.equal(x.grad, torch.zeros(3, 4))


def test_a_feature_map_of_the_exact_kernel_gives_softmax_attention():
    class Exponential(FeatureMap):
        """For a head of one feature, exp(qk) is the dot product of its power series."""

        def forward(self, x):
            powers = torch.arange(30.0)
            factorials = torch.tensor([math.factorial(n) for n in range(30)], dtype=torch.float64).sqrt().float()
            return x.float() ** powers / factorials

    torch.manual_seed(4)
    attention = LinearAttention(d_model=3, n_heads=3, feature_map=Exponential)
    layout = Layout.from_lengths(4, 6)
    x = torch.randn(10, 3)
    context = Context(plan=lower(Causal(), layout))
    exact = attention.out(lower(Causal(), layout, kernel="reference").attend(*attention.project(x, context)).flatten(1))
    torch.testing.assert_close(attention(x, context), exact, rtol=1e-4, atol=1e-5)


def test_elu_features_are_positive():
    x = torch.linspace(-80, 20, 100)
    assert (EluFeatures(4)(x) > 0).all()
    torch.testing.assert_close(EluFeatures(4)(x), torch.nn.functional.elu(x) + 1)


def test_bfloat16_sums_do_not_stall():
    """Adding 1 to 256 in bfloat16 gives 256: 4,000 equal tokens must still average to themselves."""
    attention = LinearAttention(d_model=8, n_heads=1).bfloat16()
    x = torch.randn(1, 8).expand(4000, 8).bfloat16()
    out = run(attention, x, [4000], Causal())
    torch.testing.assert_close(out[-1], out[0], rtol=2e-2, atol=2e-2)


def test_a_rule_it_cannot_do_is_refused_by_name():
    attention = LinearAttention(d_model=8, n_heads=2)
    with pytest.raises(ValueError, match=r"linear attention can do Full\(\) and Causal\(\); received Window\(left=3"):
        run(attention, torch.randn(4, 8), [4], Window(left=3))


def test_a_batch_without_tokens_passes():
    attention = LinearAttention(d_model=8, n_heads=2)
    x = torch.zeros(0, 8, requires_grad=True)
    for rule in (Full(), Causal()):
        out = run(attention, x, [0, 0], rule)
        assert out.shape == (0, 8)
    out.sum().backward()
    assert attention.qkv.weight.grad is not None


@torch.no_grad()
def test_decoding_keeps_sums_alone_and_equals_one_pass_even_after_beams_change():
    torch.manual_seed(5)
    core = Transformer(d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, attention=LinearAttention)
    a, b = torch.randn(70, 16), torch.randn(3, 16)
    right = core(torch.cat([a, b]), Layout.from_lengths(70, 3), Causal())
    cache = KVCache(n_layers=2, n_samples=2)
    layout, _ = cache.extend(torch.tensor([66, 1]))
    out = core(torch.cat([a[:66], b[:1]]), layout, Causal(), cache=cache)
    torch.testing.assert_close(out, torch.cat([right[:66], right[70:71]]), rtol=1e-5, atol=1e-5)
    cache.reorder(torch.tensor([1, 0, 0]))
    sizes = []
    for step in range(2):
        layout, _ = cache.extend(torch.tensor([1, 1, 1]))
        new = torch.stack([b[1 + step], a[66 + step], a[66 + step]])
        expected = right[[71 + step, 66 + step, 66 + step]]
        torch.testing.assert_close(core(new, layout, Causal(), cache=cache), expected, rtol=1e-5, atol=1e-5)
        sizes.append({name: rows.shape for name, rows in cache.layers[0].state.items()})
    assert sizes[0] == sizes[1] == {"sums": (3, 2, 4, 5)}
    with pytest.raises(ValueError, match=r"can decode under Causal\(\); received Full"):
        core(new, layout, Full(), cache=cache)
