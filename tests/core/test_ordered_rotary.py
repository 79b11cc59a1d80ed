import torch

from omniformer.core.layout import Layout
from omniformer.core.ordered_rotary import OrderedRotary
from omniformer.core.rotary import Rotary


def test_tokens_turn_by_their_place_whatever_their_coordinates():
    layout = Layout(lengths=torch.tensor([3, 2]), positions=torch.randn(5, 2), start=torch.tensor([4, 0]))
    counted = Layout(lengths=torch.tensor([3, 2]), positions=torch.tensor([4.0, 5.0, 6.0, 0.0, 1.0])[:, None])
    x = torch.randn(5, 2, 8)
    assert torch.equal(OrderedRotary(head_dim=8, base=50.0)(layout)(x), Rotary(head_dim=8, base=50.0)(counted)(x))
