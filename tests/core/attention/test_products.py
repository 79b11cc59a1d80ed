import pytest
import torch

from omniformer.core.attention.dense import Dense
from omniformer.core.attention.products import attention_by_products, prefers_products
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
    assert prefers_products(q, k)
    ours = Dense(rule, layout, layout)(q, k, v, scale=0.25)
    exact = Reference(rule, layout, layout)(q.double(), k.double(), v.double(), scale=0.25)
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.double(), exact, rtol=2e-2, atol=2e-2)


def test_only_short_samples_in_bfloat16_on_a_cpu_are_products():
    short, long = torch.zeros(1, 1, 512, 4), torch.zeros(1, 1, 513, 4)
    assert prefers_products(short.bfloat16(), short.bfloat16())
    assert not prefers_products(short, short)
    assert not prefers_products(long.bfloat16(), long.bfloat16())
    meta = short.bfloat16().to("meta")
    assert not prefers_products(meta, meta)
