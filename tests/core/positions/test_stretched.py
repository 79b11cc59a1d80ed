import pytest
import torch
from torch.nn import functional as F

from omniformer.core.positions import Stretched


def grid(rows, columns):
    places = torch.cartesian_prod(torch.arange(float(rows)), torch.arange(float(columns)))
    return places, torch.tensor([[float(rows), float(columns)]]).expand_as(places)


@pytest.mark.parametrize("size", [(5, 5), (9, 2), (1, 20), (12, 12), (3, 4)], ids=str)
def test_a_grid_is_what_smoothed_interpolation_makes_of_the_table(size):
    torch.manual_seed(0)
    made = Stretched(d_model=3, n_places=5)
    table = made.table.permute(2, 0, 1)[None]
    expected = F.interpolate(table, size=size, mode="bilinear", align_corners=False, antialias=True)[0]
    torch.testing.assert_close(made(*grid(*size)), expected.permute(1, 2, 0).flatten(0, 1), rtol=1e-5, atol=1e-6)


def test_tokens_of_several_pictures_are_told_apart_in_any_order():
    made, parts = Stretched(d_model=3, n_places=5), [grid(2, 3), grid(7, 1)]
    places, sizes = (torch.cat(each) for each in zip(*parts, strict=True))
    order = torch.randperm(len(places))
    alone = torch.cat([made(*part) for part in parts])
    torch.testing.assert_close(made(places[order], sizes[order]), alone[order])


def test_every_place_of_the_table_learns():
    made = Stretched(d_model=3, n_places=4)
    made(*grid(4, 4)).sum().backward()
    torch.testing.assert_close(made.table.grad, torch.ones(4, 4, 3))


def test_other_numbers_of_axes_are_refused():
    with pytest.raises(ValueError, match="n_axes=3: a grid that is stretched over pictures has two"):
        Stretched(d_model=3, n_places=4, n_axes=3)
