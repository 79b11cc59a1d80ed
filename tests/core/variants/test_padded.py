import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omniformer.core.attention.plan import lower
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal
from omniformer.core.variants.padded import PaddedBlock


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=5))
def test_the_way_into_the_block_and_back_loses_nothing(lengths):
    layout = Layout(lengths=torch.tensor(lengths))
    block = PaddedBlock.of(lower(Causal(), layout))
    x = torch.randn(sum(lengths), 2, 3)
    assert torch.equal(block.packed(block.queries(x)), x)
    assert int(block.mask.sum()) == sum(n * (n + 1) // 2 for n in lengths)
