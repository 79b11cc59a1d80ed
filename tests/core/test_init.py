import pytest
import torch
from torch import nn

from omniformer.core.init import depth_scaled, linear_, reset


def test_linear_maps_are_drawn_with_the_deviation_asked_for():
    linear = nn.Linear(300, 300)
    linear_(linear, 0.05)
    assert linear.weight.std().item() == pytest.approx(0.05, rel=0.02)
    assert not linear.bias.any()
    linear_(linear, 0.0)
    assert not linear.weight.any()


def test_depth_scaled_counts_two_branches_a_layer():
    assert depth_scaled(1.0, 8) == pytest.approx(1 / 4)


class Part(nn.Module):
    def __init__(self, inner=None):
        super().__init__()
        self.drawn, self.inner = None, inner
        self.linear, self.table = nn.Linear(2, 2), nn.Embedding(2, 2)


class Branch(Part):
    def reset_parameters(self, std, output_std):
        self.drawn = (std, output_std)


class Plain(Part):
    def reset_parameters(self):
        self.drawn = ()


def test_every_part_is_drawn_in_its_own_way_and_pytorchs_layers_are_left_to_their_holders():
    part = Branch(Plain(Part(Branch())))
    before = [parameter.clone() for parameter in part.parameters()]
    reset(part, 0.1, 0.2)
    assert part.drawn == part.inner.inner.inner.drawn == (0.1, 0.2)
    assert part.inner.drawn == ()
    assert all(torch.equal(a, b) for a, b in zip(before, part.parameters(), strict=True))
