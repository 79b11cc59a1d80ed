import pytest
import torch
from torch.nn import functional as F

from omniformer.embedders import ConvPositions


def by_hand(layer, x):
    """One sample, every place and feature in turn."""
    width, each, kernel = layer.direction.shape
    rows = []
    for place in range(len(x)):
        row = []
        for out in range(width):
            total, group = layer.bias[out], out // each
            for k in range(kernel):
                seen = place + k - kernel // 2
                if 0 <= seen < len(x):
                    weight = layer.direction[out, :, k] / (layer.direction[:, :, k] ** 2).sum().sqrt() * layer.size[k]
                    total = total + weight @ x[seen, group * each : (group + 1) * each]
            row.append(F.gelu(total))
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("kernel", [1, 3, 4])
def test_every_sample_is_convolved_as_if_it_were_alone(kernel):
    torch.manual_seed(0)
    layer = ConvPositions(d_model=4, kernel=kernel, groups=2).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(8, 4, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([5, 0, 3])
    out, expected = layer(x, lengths), torch.cat([by_hand(layer, x[:5]), by_hand(layer, x[5:])])
    torch.testing.assert_close(out, expected)
    leaves = [x, *layer.parameters()]
    for ours, theirs in zip(*(torch.autograd.grad(each.sin().sum(), leaves) for each in (out, expected)), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_fresh_kernels_are_of_their_own_length():
    layer = ConvPositions(d_model=32, kernel=8, groups=4)
    torch.testing.assert_close(layer.size, layer.direction.norm(dim=(0, 1)))
    assert layer(torch.zeros(0, 32), torch.tensor([0])).shape == (0, 32)


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="groups=3 does not divide d_model=8"):
        ConvPositions(d_model=8, groups=3)
