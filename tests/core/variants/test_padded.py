import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omniformer.core.attention.plan import lower
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal
from omniformer.core.variants.padded import PaddedBlock, masked_softmax


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=5))
def test_the_way_into_the_block_and_back_loses_nothing(lengths):
    layout = Layout(lengths=torch.tensor(lengths))
    block = PaddedBlock.of(lower(Causal(), layout))
    x = torch.randn(sum(lengths), 2, 3)
    assert torch.equal(block.packed(block.queries(x)), x)
    assert int(block.mask.sum()) == sum(n * (n + 1) // 2 for n in lengths)


def test_a_query_without_keys_gets_zero_weight_and_zero_gradient():
    scores = torch.randn(2, 3, requires_grad=True)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    weights = masked_softmax(scores, mask)
    assert weights[0, 1] == 0
    assert weights[0].sum().item() == pytest.approx(1)
    assert not weights[1].any()
    (gradient,) = torch.autograd.grad(weights.square().sum(), scores)
    assert not gradient[1].any()
    assert gradient.isfinite().all()
