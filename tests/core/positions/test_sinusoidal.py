import math

import pytest
import torch

from omniformer.core.positions import Sinusoidal, SinusoidalSum


def test_sinusoidal_follows_the_papers_formula():
    width, out = 8, Sinusoidal(d_model=8)(torch.arange(20.0)[:, None])
    for position in range(20):
        for i in range(width // 2):
            angle = position / 10_000 ** (2 * i / width)
            assert out[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert out[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_a_shift_is_one_fixed_rotation_of_every_sinusoidal_position():
    out = Sinusoidal(d_model=6)(torch.arange(50.0)[:, None]).double()
    shift = torch.linalg.lstsq(out[:40], out[7:47]).solution
    torch.testing.assert_close(out[:43] @ shift, out[7:50], rtol=0, atol=1e-5)
    torch.testing.assert_close(shift @ shift.T, torch.eye(6).double(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("n_axes", "width"), [(2, 8), (3, 12), (3, 14), (2, 9)])
def test_each_axis_of_sinusoidal_positions_has_features_of_its_own(n_axes, width):
    position = Sinusoidal(d_model=width, n_axes=n_axes)
    share = width // n_axes // 2 * 2
    start = torch.randint(0, 9, (1, n_axes)).float()
    base = position(start)
    for axis in range(n_axes):
        moved = start.clone()
        moved[0, axis] += 1
        changed = (position(moved) != base)[0]
        assert changed[axis * share : (axis + 1) * share].all()
        assert not changed[: axis * share].any()
        assert not changed[(axis + 1) * share :].any()
    one = Sinusoidal(d_model=share)
    torch.testing.assert_close(base[:, :share], one(start[:, :1]))


def test_summed_sinusoids_use_the_full_width_and_tell_axes_apart():
    position = SinusoidalSum(d_model=8, n_axes=2)
    a, b = position(torch.tensor([[1.0, 2.0]])), position(torch.tensor([[2.0, 1.0]]))
    assert not torch.allclose(a, b, atol=1e-2)
    line = Sinusoidal(d_model=8)
    torch.testing.assert_close(a, line(torch.tensor([[1.0]])) + line(torch.tensor([[1.0]])))
    torch.testing.assert_close(b, line(torch.tensor([[2.0]])) + line(torch.tensor([[0.5]])))


def test_too_narrow_sinusoids_are_told():
    with pytest.raises(ValueError, match=r"d_model=4 .* n_axes=3"):
        Sinusoidal(d_model=4, n_axes=3)


def test_sinusoids_of_a_bfloat16_model_are_as_exact_as_in_float32():
    position = Sinusoidal(d_model=64)
    places = torch.arange(1000.0)[:, None]
    before = position(places)
    assert torch.equal(position.to(torch.bfloat16)(places), before)
