import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from omniformer.core.attention import products
from omniformer.core.attention.dense import Dense
from omniformer.core.attention.products import attention_by_products, fused_is_slow, prefers_products
from omniformer.core.attention.reference import Reference, dense_attention
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Window


@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (3, 1)], ids=str)
@pytest.mark.parametrize("kind", ["everybody", "causal", "one mask", "a mask a row", "keys alone"])
def test_it_is_the_attention_of_the_reference_in_outputs_and_gradients(heads, kind):
    torch.manual_seed(0)
    q = torch.randn(5, heads[0], 7, 8, dtype=torch.float64, requires_grad=True)
    k, v = (torch.randn(5, heads[1], 7, n, dtype=torch.float64, requires_grad=True) for n in (8, 6))
    lower = torch.ones(7, 7, dtype=torch.bool).tril()
    masks = {
        "everybody": None,
        "causal": lower[None, None],
        "one mask": (lower | (torch.rand(7, 7) < 0.3))[None, None],
        "a mask a row": (torch.rand(5, 1, 7, 7) < 0.5) | lower,
        "keys alone": torch.arange(7) < torch.tensor([[[[1]]], [[[7]]], [[[4]]], [[[2]]], [[[3]]]]),
    }
    mask = masks[kind]
    given = {"causal": True} if kind == "causal" else {"mask": mask}
    ours = attention_by_products(q, k, v, scale=0.7, **given)
    theirs = dense_attention(q, k, v, scale=0.7, mask=mask)
    torch.testing.assert_close(ours, theirs)
    grad = torch.randn_like(ours)
    for own, other in zip(*(torch.autograd.grad(out, (q, k, v), grad) for out in (ours, theirs)), strict=True):
        torch.testing.assert_close(own, other)


@pytest.mark.parametrize("heads", [(2, 2), (4, 2)], ids=str)
@pytest.mark.parametrize("n", [64, 65, 150, 300])
@pytest.mark.quick("65-(4, 2)", "300-(2, 2)")
def test_a_causal_square_in_blocks_is_the_whole_square_in_outputs_and_gradients(heads, n):
    torch.manual_seed(0)
    q = torch.randn(2, heads[0], n, 4, dtype=torch.float64, requires_grad=True)
    k, v = (torch.randn(2, heads[1], n, each, dtype=torch.float64, requires_grad=True) for each in (4, 3))
    ours = attention_by_products(q, k, v, scale=0.7, causal=True)
    theirs = dense_attention(q, k, v, scale=0.7, mask=torch.ones(n, n, dtype=torch.bool).tril()[None, None])
    torch.testing.assert_close(ours, theirs)
    with torch.no_grad():
        torch.testing.assert_close(attention_by_products(q, k, v, scale=0.7, causal=True), theirs)
    grad = torch.randn_like(ours)
    for own, other in zip(*(torch.autograd.grad(out, (q, k, v), grad) for out in (ours, theirs)), strict=True):
        torch.testing.assert_close(own, other)


def test_what_a_causal_query_must_not_read_is_mostly_not_computed():
    q, k, v = torch.randn(3, 1, 1, 256, 8, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        attention_by_products(q, k, v, scale=1.0, causal=True).sum().backward()
    whole = 6 * 2 * 256 * 256 * 8  # operations of two products forwards and four backwards
    assert counter.get_total_flops() == whole * 10 // 16  # of 4 x 4 blocks, the 10 on and below the diagonal


@pytest.mark.parametrize("causal", [True, False])
def test_its_gradients_have_gradients(causal, monkeypatch):
    monkeypatch.setattr(products, "_LEAST_QUERIES", 2)
    torch.manual_seed(0)
    given = [torch.randn(1, 2, 3, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]

    def attend(*given):
        return attention_by_products(*given, scale=0.7, causal=causal)

    assert torch.autograd.gradcheck(attend, given)
    assert torch.autograd.gradgradcheck(attend, given)


def test_weights_are_dropped():
    torch.manual_seed(0)
    q, k = torch.randn(2, 3, 2, 40, 8)
    weights = attention_by_products(q, k, torch.eye(40).expand(3, 2, 40, 40), scale=1.0, dropout=0.25)
    assert 0.2 < float((weights == 0).float().mean()) < 0.3


@pytest.mark.parametrize("rule", [Full(), Causal(), Window(left=3)], ids=str)
@pytest.mark.parametrize("lengths", [(9, 9), (9, 2, 0, 5), (1,)], ids=str)
def test_in_bfloat16_dense_attention_is_as_near_to_exact_as_rounding_lets_it(rule, lengths):
    torch.manual_seed(0)
    layout = Layout.from_lengths(*lengths)
    q, k, v = torch.randn(3, layout.n_tokens, 4, 16).bfloat16()
    assert prefers_products(q.transpose(0, 1)[None], k.transpose(0, 1)[None], causal=False)
    ours = Dense(rule, layout, layout)(q, k, v, scale=0.25)
    exact = Reference(rule, layout, layout)(q.double(), k.double(), v.double(), scale=0.25)
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.double(), exact, rtol=2e-2, atol=2e-2)


@pytest.fixture
def medium():
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("rule", [Full(), Causal(), Window(left=3)], ids=str)
@pytest.mark.parametrize("lengths", [(30, 30), (40, 2, 0, 25), (140, 140)], ids=str)
@pytest.mark.quick(3)
@pytest.mark.usefixtures("medium")
def test_where_float32_may_be_less_precise_attention_is_as_near_to_exact_as_bfloat16_lets_it(rule, lengths):
    torch.manual_seed(0)
    layout = Layout.from_lengths(*lengths)
    q, k, v = torch.randn(3, layout.n_tokens, 4, 16)
    ours = Dense(rule, layout, layout)(q, k, v, scale=0.25)
    exact = Reference(rule, layout, layout)(q.double(), k.double(), v.double(), scale=0.25)
    torch.testing.assert_close(ours.double(), exact, rtol=2e-2, atol=2e-2)


def rows(n, features=64, device="cpu"):
    return torch.zeros(1, 1, n, features, device=device)


def test_short_samples_in_bfloat16_on_a_cpu_are_products():
    short, long = rows(512).bfloat16(), rows(513).bfloat16()
    assert prefers_products(short, short, causal=False)
    assert prefers_products(rows(1).bfloat16(), short, causal=False)
    assert not prefers_products(long, long, causal=True)
    assert not prefers_products(short.to("meta"), short.to("meta"), causal=True)


def test_in_float32_long_causal_samples_and_short_ones_of_narrow_heads_are_products():
    def chosen(n, features, causal, device="cpu"):
        return prefers_products(rows(n, features, device), rows(n, features, device), causal=causal)

    assert [n for n in (64, 127, 128, 512, 513) if chosen(n, 64, True)] == [128, 512]
    assert [n for n in (9, 15, 16, 48, 49, 200) if chosen(n, 32, False)] == [16, 48]
    assert not chosen(32, 64, False)
    assert not chosen(256, 64, True, "meta")
    assert not prefers_products(rows(256).double(), rows(256).double(), causal=True)
    assert not prefers_products(rows(1, 32), rows(32, 32), causal=False)
    assert not fused_is_slow(rows(256), rows(256))


@pytest.mark.usefixtures("medium")
def test_where_float32_may_be_less_precise_tiles_that_onednn_would_compute_are_products():
    assert fused_is_slow(rows(64), rows(64))
    assert not fused_is_slow(rows(8), rows(8))  # 8 x 8 x 64 multiplications are left to BLAS
    assert not fused_is_slow(rows(513), rows(513))
    assert not fused_is_slow(rows(64).double(), rows(64).double())
