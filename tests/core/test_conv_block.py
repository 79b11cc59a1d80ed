import pytest
import torch
from torch.nn import functional as F

from omniformer.core.conv_block import ConvFirstBlock, NeighbourConv
from omniformer.core.layout import Layout
from omniformer.core.transformer import Transformer

LENGTHS = (4, 0, 1, 6)


@pytest.mark.parametrize(("kernel", "groups"), [(3, 1), (5, 2), (1, 4)])
def test_a_sample_is_convolved_by_itself(kernel, groups):
    torch.manual_seed(0)
    conv, x = NeighbourConv(8, kernel=kernel, groups=groups), torch.randn(11, 8, requires_grad=True)
    torch.nn.init.normal_(conv.bias)
    found = conv(x, Layout.from_lengths(*LENGTHS))
    own = {"padding": kernel // 2, "groups": groups}
    expected = torch.cat(
        [F.conv1d(each.T[None], conv.weight, conv.bias, **own)[0].T for each in x.split(LENGTHS) if len(each)]
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    leaves = [x, *conv.parameters()]
    for one, other in zip(*(torch.autograd.grad(each.sin().sum(), leaves) for each in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert conv(torch.zeros(0, 8), Layout.from_lengths(0)).shape == (0, 8)


def test_the_first_block_alone_adds_its_input_convolved():
    torch.manual_seed(0)
    core, layout, x = Transformer(d_model=8, n_layers=2, n_heads=2, block=ConvFirstBlock), Layout.from_lengths(3), {}
    given = torch.randn(3, 8)
    core(given, layout, stages=x)
    block = core.blocks[0]
    plain = Transformer(d_model=8, n_layers=2, n_heads=2)
    plain.load_state_dict(core.state_dict(), strict=False)
    stages = {}
    plain(given, layout, stages=stages)
    expected = block.conv_norm(stages["blocks.0"] + block.conv(given, layout).tanh())
    torch.testing.assert_close(x["blocks.0"], expected)
    assert core.blocks[1].conv is None


@pytest.mark.parametrize(("kernel", "groups"), [(2, 1), (3, 3)])
def test_sizes_that_cannot_be_are_refused(kernel, groups):
    with pytest.raises(ValueError, match=f"kernel={kernel} must be odd, and groups={groups} must divide"):
        NeighbourConv(8, kernel=kernel, groups=groups)
