import math

import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.core.rotary import Rotary
from omniformer.core.sectioned_rotary import SectionedRotary


def test_each_pair_of_features_turns_by_the_coordinate_of_its_section():
    positions = torch.tensor([[3.0, 5.0, 7.0], [0.0, 2.0, 100.0]])
    layout = Layout(lengths=torch.tensor([2]), positions=positions)
    x = torch.randn(2, 2, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = SectionedRotary(head_dim=12, sections=[1, 3, 2], base=50.0)(layout)(x)
    for token in range(2):
        for head in range(2):
            for i, axis in enumerate([0, 1, 1, 1, 2, 2]):
                angle = positions[token, axis].item() * 50.0 ** (-i / 6)
                one, two = x[token, head, i].item(), x[token, head, i + 6].item()
                turned = (one * math.cos(angle) - two * math.sin(angle), two * math.cos(angle) + one * math.sin(angle))
                assert found[token, head, [i, i + 6]].tolist() == pytest.approx(turned, abs=1e-4)


@pytest.mark.parametrize("positions", [None, torch.tensor([[4.0], [1.0], [9.0]])])
def test_a_single_coordinate_counts_for_all_sections_so_that_text_turns_as_ever(positions):
    layout, x = Layout(lengths=torch.tensor([3]), positions=positions), torch.randn(3, 1, 8)
    sectioned, plain = SectionedRotary(head_dim=8, sections=[1, 1, 2]), Rotary(head_dim=8)
    assert torch.equal(sectioned(layout)(x), plain(layout)(x))


def test_sections_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"sections=\[1, 2\] must be positive and half of head_dim=8"):
        SectionedRotary(head_dim=8, sections=[1, 2])
    layout = Layout(lengths=torch.tensor([1]), positions=torch.zeros(1, 2))
    with pytest.raises(ValueError, match="positions have 2 axes"):
        SectionedRotary(head_dim=8, sections=[1, 1, 2])(layout)
