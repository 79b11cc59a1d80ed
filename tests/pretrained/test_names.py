"""Lines of a table of names: what is copied where, and back."""

import pytest
import torch

from omniformer.pretrained.names import Name, assemble, by_group


def round_trip(line, theirs, ours):
    """Theirs in ours, and written again."""
    line.read(theirs, 0, ours)
    ((_, again),) = assemble([line], {"ours": ours}.__getitem__)
    return again


def test_a_flat_kernel_of_ours_may_have_its_sides_in_another_order():
    theirs, ours = torch.randn(5, 1, 2, 3), torch.empty(5, 6)
    line = Name(ours="ours", theirs="theirs", view=(5, 1, 3, 2), axes=(0, 1, 3, 2))
    assert line.expected(ours) == theirs.shape
    assert torch.equal(round_trip(line, theirs, ours), theirs)
    assert torch.equal(ours, theirs.transpose(2, 3).flatten(1))


def test_a_grid_of_ours_may_be_turned_in_the_rows_of_theirs():
    theirs, ours = torch.randn(1, 1 + 6, 4), torch.empty(2, 3, 4)
    line = Name(ours="ours", theirs="theirs", axes=(1, 0, 2), their_rows=(1, 7), shape=(1, 7, 4))
    line.read(theirs, 0, ours)
    assert torch.equal(ours.transpose(0, 1).flatten(0, 1), theirs[0, 1:])
    assert torch.equal(line.write(ours), theirs[0, 1:])


def test_a_view_that_does_not_fit_is_told():
    line = Name(ours="ours", theirs="theirs", view=(5, 7))
    with pytest.raises(IndexError, match=r"ours is \[5, 6\], the table of names means \[5, 7\]"):
        line.expected(torch.empty(5, 6))


@pytest.mark.parametrize("pieces", [1, 3])
def test_rows_may_stand_in_another_order_and_arrive_in_pieces(pieces):
    order = by_group(3, 2, 1, 1, head_dim=2)  # of 3 groups two queries, a key, a value
    theirs, ours = torch.randn(24, 5), torch.empty(24, 5)
    line = Name(ours="ours", theirs="theirs", order=tuple(order))
    n = len(theirs) // pieces
    for first in range(0, len(theirs), n):
        line.read(theirs[first : first + n], first, ours)
    groups = theirs.view(3, 4, 2, 5)
    assert torch.equal(ours[:12].view(3, 2, 2, 5), groups[:, :2])
    assert torch.equal(ours[12:18].view(3, 1, 2, 5), groups[:, 2:3])
    assert torch.equal(ours[18:].view(3, 1, 2, 5), groups[:, 3:])
    ((_, again),) = assemble([line], {"ours": ours}.__getitem__)
    assert torch.equal(again, theirs)
