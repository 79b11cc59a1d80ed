"""Layers that are the same layer again and again."""

import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.core.shared import SharedTransformer
from omniformer.core.transformer import Transformer

LAYOUT = Layout.from_lengths(3, 2)


def test_two_groups_compute_what_a_plain_stack_of_equal_layers_computes():
    torch.manual_seed(0)
    shared = SharedTransformer(d_model=8, n_layers=5, n_groups=2, n_heads=2)
    plain = Transformer(d_model=8, n_layers=5, n_heads=2)
    for mine, theirs in zip(plain.blocks, [0, 0, 0, 3, 3], strict=True):
        mine.load_state_dict(shared.blocks[theirs].state_dict())
    plain.norm.load_state_dict(shared.norm.state_dict())
    x = torch.randn(5, 8)
    assert torch.equal(shared(x, LAYOUT), plain(x, LAYOUT))
    counts = [sum(each.numel() for each in core.blocks.parameters()) for core in (shared, plain)]
    assert counts[0] * 5 == counts[1] * 2


def test_a_gradient_is_that_of_all_turns():
    torch.manual_seed(0)
    shared = SharedTransformer(d_model=8, n_layers=2, n_heads=2)
    plain = Transformer(d_model=8, n_layers=2, n_heads=2)
    for block in plain.blocks:
        block.load_state_dict(shared.blocks[0].state_dict())
    x = torch.randn(5, 8)
    for core in (shared, plain):
        core(x, LAYOUT).square().sum().backward()
    one, two = (block.attention.branch.qkv.weight.grad for block in plain.blocks)
    torch.testing.assert_close(shared.blocks[0].attention.branch.qkv.weight.grad, one + two)


@pytest.mark.parametrize("n_groups", [0, 3])
def test_groups_that_cannot_be_are_told(n_groups):
    with pytest.raises(ValueError, match=f"n_groups={n_groups} must be at least 1 and at most n_layers=2"):
        SharedTransformer(d_model=8, n_layers=2, n_groups=n_groups, n_heads=2)
