"""Where backward passes written by hand are taken."""

import torch

from omniformer.core.by_hand import by_hand


def test_they_are_for_gradients_that_are_wanted_of_plain_tensors():
    x, learns = torch.zeros(2), torch.zeros(2, requires_grad=True)
    assert by_hand(x, learns) and by_hand(learns) and not by_hand(x)
    assert by_hand(learns.to("meta"))
    with torch.no_grad():
        assert not by_hand(learns)
    taken = []
    torch.func.grad(lambda row: taken.append(by_hand(row)) or row.sum())(x)
    assert taken == [False]
