import math

import pytest
import torch

from omniformer.core.centred_rotary import CentredRotary
from omniformer.core.layout import Layout


def picture(rows, columns, n_first=0):
    cells = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).reshape(-1, 2).float()
    return torch.cat([torch.zeros(n_first, 2), cells])


def test_patches_turn_by_their_centres_between_the_edges_and_what_stands_nowhere_does_not():
    sizes, n_first = [(2, 3), (1, 4)], 2
    places = [picture(*size, n_first) for size in sizes]
    layout = Layout(lengths=torch.tensor([len(each) for each in places]), positions=torch.cat(places))
    rotation = CentredRotary(head_dim=8, base=100.0, n_first=n_first)(layout)
    row = 0
    for (rows, columns), cells in zip(sizes, places, strict=True):
        for i, (down, across) in enumerate(cells.tolist()):
            y, x = 2 * (down + 0.5) / rows - 1, 2 * (across + 0.5) / columns - 1
            angles = [2 * math.pi * each / 100.0**share for each in (y, x) for share in (0.0, 0.5)]
            angles = torch.tensor(2 * ([0.0] * 4 if i < n_first else angles))
            torch.testing.assert_close(rotation.cos[row, 0], angles.cos(), rtol=0, atol=1e-6)
            torch.testing.assert_close(rotation.sin[row, 0], angles.sin(), rtol=0, atol=1e-6)
            row += 1


def test_tokens_that_processes_have_divided_between_them_turn_as_in_the_whole_picture():
    places = [picture(3, 2, n_first=1), picture(2, 5, n_first=1)]
    layout = Layout(lengths=torch.tensor([len(each) for each in places]), positions=torch.cat(places))
    mine = torch.tensor([0, 1, 2, 7, 8, 9])  # the beginnings of both, without their last rows and columns
    part = Layout(lengths=torch.tensor([3, 3]), places=layout.index[mine], positions=layout.positions[mine])
    rotary = CentredRotary(head_dim=8, n_first=1)
    assert torch.equal(rotary(part, layout).cos, rotary(layout).cos[mine])


def test_a_sample_without_tokens_is_legal_and_fewer_than_no_first_tokens_are_not():
    layout = Layout(lengths=torch.tensor([0, 2]), positions=picture(1, 2))
    assert CentredRotary(head_dim=4)(layout).cos.isfinite().all()
    with pytest.raises(ValueError, match="n_first=-1"):
        CentredRotary(head_dim=4, n_first=-1)
