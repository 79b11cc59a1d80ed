from functools import partial

import pytest
import torch

from omniformer.core.positions import (
    Fourier,
    Learned,
    NoPositions,
    Projected,
    Sinusoidal,
    SinusoidalHalves,
    SinusoidalSum,
)

KINDS = [Sinusoidal, SinusoidalHalves, SinusoidalSum, Fourier, NoPositions, Projected]


@pytest.mark.parametrize("kind", [*KINDS, partial(Learned, sizes=[4])])
def test_no_tokens_give_no_vectors(kind):
    assert kind(d_model=8)(torch.zeros(0, 1)).shape == (0, 8)


@pytest.mark.parametrize("kind", KINDS[:4])
def test_another_number_of_axes_is_told_with_both_numbers(kind):
    with pytest.raises(ValueError, match=r"positions have 0 axes, .* has n_axes=2"):
        kind(d_model=8, n_axes=2)(torch.zeros(3, 0))


def test_no_positions_take_tokens_with_any_number_of_axes():
    assert not NoPositions(d_model=8, n_axes=1)(torch.rand(3, 0)).any()


def test_coordinates_drawn_to_try_a_model_with_have_its_axes():
    drawn = Sinusoidal(d_model=8, n_axes=2).drawn(5, torch.Generator().manual_seed(0))
    assert drawn.shape == (5, 2)
