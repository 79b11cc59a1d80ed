import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omniformer.core.layout import Layout
from omniformer.core.rotary import Rotary


def positioned(positions):
    return Layout(lengths=torch.tensor([len(positions)]), positions=positions)


def rotate(rotary, x, positions):
    """One vector `[head_dim]` at one position."""
    return rotary(positioned(torch.tensor([positions])))(x.view(1, 1, -1)).flatten()


def test_each_pair_of_features_turns_by_position_times_frequency():
    x, position = torch.randn(8), 3.0
    out = rotate(Rotary(head_dim=8, base=100.0), x, [position])
    for i in range(4):
        angle = position * 100.0 ** (-i / 4)
        a, b = x[i].item(), x[i + 4].item()
        assert out[i].item() == pytest.approx(a * math.cos(angle) - b * math.sin(angle), abs=1e-5)
        assert out[i + 4].item() == pytest.approx(b * math.cos(angle) + a * math.sin(angle), abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    n_axes=st.integers(1, 3),
    seed=st.integers(0, 1000),
    shift=st.lists(st.integers(-20, 20), min_size=3, max_size=3),
)
def test_scores_depend_on_coordinate_differences_alone(n_axes, seed, shift):
    torch.manual_seed(seed)
    rotary = Rotary(head_dim=12, n_axes=n_axes)
    q, k = torch.randn(2, 12)
    here, there = torch.randint(0, 20, (2, n_axes)).float()
    moved = torch.tensor(shift[:n_axes]).float()
    before = rotate(rotary, q, here.tolist()) @ rotate(rotary, k, there.tolist())
    after = rotate(rotary, q, (here + moved).tolist()) @ rotate(rotary, k, (there + moved).tolist())
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-4)


def test_lengths_are_kept():
    x = torch.randn(9, 2, 8)
    out = Rotary(head_dim=8)(Layout.from_lengths(9))(x)
    torch.testing.assert_close(out.norm(dim=-1), x.norm(dim=-1))


def test_without_positions_tokens_count_from_the_start_of_their_sample_or_of_the_cache():
    rotary, x = Rotary(head_dim=4), torch.randn(3, 1, 4)
    given = rotary(positioned(torch.tensor([[5.0], [6.0], [7.0]])))(x)
    layout = Layout(lengths=torch.tensor([3]), start=torch.tensor([5]))
    assert torch.equal(rotary(layout)(x), given)


def test_features_beyond_the_rotated_ones_pass_unchanged():
    x = torch.randn(4, 2, 16)
    out = Rotary(head_dim=16, rotated=4)(Layout.from_lengths(4))(x)
    assert torch.equal(out[..., 4:], x[..., 4:])
    assert torch.equal(out[..., :4], Rotary(head_dim=4)(Layout.from_lengths(4))(x[..., :4]))


def test_missing_axes_count_as_zero():
    rotary, x = Rotary(head_dim=12, n_axes=3), torch.randn(4, 1, 12)
    line = torch.arange(4.0)[:, None]
    padded = torch.cat([line, torch.zeros(4, 2)], dim=1)
    assert torch.equal(rotary(positioned(line))(x), rotary(positioned(padded))(x))


def test_a_constant_coordinate_changes_no_score():
    rotary, x = Rotary(head_dim=8, n_axes=2), torch.randn(5, 1, 8)
    turned = rotary(positioned(torch.full((5, 2), 7.0)))(x)[:, 0]
    torch.testing.assert_close(turned @ turned.T, x[:, 0] @ x[:, 0].T, rtol=1e-4, atol=1e-5)


def test_angles_of_a_bfloat16_model_are_exact():
    rotary, layout = Rotary(head_dim=64), Layout.from_lengths(5000)
    expected = rotary(layout)
    rounded = rotary.to(torch.bfloat16)(layout)
    assert torch.equal(rounded.cos, expected.cos)
    assert torch.equal(rounded.sin, expected.sin)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"head_dim": 7}, "rotated=7 features of head_dim=7"),
        ({"head_dim": 4, "n_axes": 3}, "head_dim=4 .* n_axes=3"),
        ({"head_dim": 8, "rotated": 10}, "rotated=10 features of head_dim=8"),
    ],
)
def test_impossible_sizes_are_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        Rotary(**arguments)


def test_more_axes_than_built_for_are_told():
    with pytest.raises(ValueError, match=r"2 axes, this rotary has n_axes=1; set .* core\.rotary\.n_axes=2"):
        Rotary(head_dim=8)(positioned(torch.zeros(3, 2)))
