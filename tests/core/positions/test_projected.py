import torch
from torch import nn

from omniformer.core.positions import Fourier, Projected, Sinusoidal


def test_fourier_inner_products_depend_on_differences_alone():
    torch.manual_seed(0)
    position = Fourier(d_model=8, n_axes=2, n_frequencies=16, scale=0.3)
    with torch.no_grad():
        position.map = nn.Linear(32, 32, bias=False)
        position.map.weight.copy_(torch.eye(32))
    a, b, shift = torch.rand(5, 2), torch.rand(5, 2), torch.tensor([3.0, -2.0])
    before = (position(a) * position(b)).sum(-1)
    after = (position(a + shift) * position(b + shift)).sum(-1)
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-4)


def test_fourier_frequencies_are_saved_with_the_weights():
    torch.manual_seed(0)
    first, second = Fourier(d_model=8), Fourier(d_model=8)
    x = torch.rand(4, 1)
    assert not torch.allclose(first(x), second(x))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))


def test_projected_positions_equal_concatenation_before_a_linear_map():
    torch.manual_seed(0)
    features, positions = torch.randn(5, 3), torch.rand(5, 2) * 9
    position = Projected(d_model=8, n_axes=2, d_encoding=12, encoding=Sinusoidal)
    embed = nn.Linear(3, 8)
    both = nn.Linear(3 + 12, 8)
    with torch.no_grad():
        both.weight.copy_(torch.cat([embed.weight, position.map.weight], dim=1))
        both.bias.copy_(embed.bias)
    concatenated = both(torch.cat([features, position.encoding(positions)], dim=1))
    torch.testing.assert_close(embed(features) + position(positions), concatenated)
