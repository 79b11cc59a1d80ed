import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from omniformer.core.positions import (
    Fourier,
    Learned,
    NoPositions,
    Projected,
    Sinusoidal,
    SinusoidalHalves,
    SinusoidalSum,
    StoredSinusoidal,
)

KINDS = [Sinusoidal, SinusoidalHalves, SinusoidalSum, Fourier, NoPositions, Projected]


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


def test_halves_are_the_papers_waves_in_another_order():
    places = torch.arange(20.0)[:, None]
    halves, turns = SinusoidalHalves(d_model=8)(places), Sinusoidal(d_model=8)(places)
    torch.testing.assert_close(halves, torch.cat([turns[:, 0::2], turns[:, 1::2]], dim=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("width", [8, 7])
def test_halves_equal_marians_positions(width):
    marian = pytest.importorskip("transformers.models.marian.modeling_marian")
    theirs = marian.MarianSinusoidalPositionalEmbedding(600, width)
    theirs.weight.data = theirs.create_weight()
    ours = SinusoidalHalves(d_model=width)(torch.arange(600.0)[:, None])
    torch.testing.assert_close(ours, theirs.weight.data, rtol=0, atol=1e-7)


def test_halves_that_reach_the_base_equal_whispers_positions():
    whisper = pytest.importorskip("transformers.models.whisper.modeling_whisper")
    ours = SinusoidalHalves(d_model=8, to_base=True)(torch.arange(50.0)[:, None])
    torch.testing.assert_close(ours, whisper.sinusoids(50, 8), rtol=0, atol=1e-5)


def test_several_axes_have_halves_side_by_side():
    places, one = torch.rand(5, 2), SinusoidalHalves(d_model=4)
    expected = torch.cat([one(places[:, :1]), one(places[:, 1:]), torch.zeros(5, 1)], dim=1)
    torch.testing.assert_close(SinusoidalHalves(d_model=9, n_axes=2)(places), expected)


def test_a_stored_table_is_read_where_it_reaches_and_the_formula_goes_on():
    position = StoredSinusoidal(d_model=6, size=4, to_base=True)
    formula = SinusoidalHalves(d_model=6, to_base=True)
    places = torch.tensor([[0.0], [3.0], [4.0], [90.0], [1.5]])
    torch.testing.assert_close(position(places), formula(places))
    with torch.no_grad():
        position.table.add_(1)
    torch.testing.assert_close(position(places), formula(places) + torch.tensor([[1.0], [1], [0], [0], [0]]))
    torch.testing.assert_close(position(places[:2]), formula(places[:2]) + 1)
    position.reset_parameters()
    torch.testing.assert_close(position(places), formula(places))


def test_a_stored_table_is_saved_and_counted_but_not_trained():
    position = StoredSinusoidal(d_model=6, size=4)
    assert position.state_dict()["table"].shape == (4, 6)
    assert [parameter.requires_grad for parameter in position.parameters()] == [False]


@pytest.mark.parametrize(
    ("arguments", "message"), [({"size": 0}, "size=0"), ({"size": 3, "n_axes": 2}, "size=3 and n_axes=2")]
)
def test_impossible_stored_tables_are_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        StoredSinusoidal(d_model=8, **arguments)


def test_summed_sinusoids_use_the_full_width_and_tell_axes_apart():
    position = SinusoidalSum(d_model=8, n_axes=2)
    a, b = position(torch.tensor([[1.0, 2.0]])), position(torch.tensor([[2.0, 1.0]]))
    assert not torch.allclose(a, b, atol=1e-2)
    line = Sinusoidal(d_model=8)
    torch.testing.assert_close(a, line(torch.tensor([[1.0]])) + line(torch.tensor([[1.0]])))
    torch.testing.assert_close(b, line(torch.tensor([[2.0]])) + line(torch.tensor([[0.5]])))


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


def test_learned_positions_are_the_rows_of_the_table():
    position = Learned(d_model=4, sizes=[3, 5])
    places = torch.tensor([[0, 0], [2, 4], [1, 3]])
    assert torch.equal(position(places.float()), torch.stack([position.table[r, c] for r, c in places.tolist()]))


@pytest.mark.parametrize("coordinates", ["index", "unit"])
def test_learned_positions_between_places_are_interpolated_linearly(coordinates):
    torch.manual_seed(0)
    position = Learned(d_model=4, sizes=[3, 6], coordinates=coordinates)
    place = torch.rand(20, 2) * torch.tensor([2.0, 5.0])
    given = (place + 0.5) / torch.tensor([3.0, 6.0]) if coordinates == "unit" else place
    # grid_sample wants (x, y) from -1 to 1 between the centres of the corner cells.
    grid = (place / torch.tensor([2.0, 5.0]) * 2 - 1).flip(-1).view(1, 1, 20, 2)
    expected = F.grid_sample(position.table.permute(2, 0, 1)[None], grid, align_corners=True)[0, :, 0].T
    torch.testing.assert_close(position(given), expected, rtol=1e-4, atol=1e-6)


def test_unit_coordinates_stretch_the_table_over_any_size_as_interpolation_does():
    position = Learned(d_model=4, sizes=[4], coordinates="unit")
    centres = (torch.arange(10.0) + 0.5) / 10
    expected = F.interpolate(position.table.T[None], size=10, mode="linear", align_corners=False)[0].T
    torch.testing.assert_close(position(centres[:, None]), expected, rtol=1e-4, atol=1e-6)


def test_gradients_of_learned_positions_equal_finite_differences():
    position = Learned(d_model=2, sizes=[2, 3]).double()
    place = torch.tensor([[0.3, 1.7], [1.0, 2.0], [0.9, 0.0]])

    def out(table):
        return torch.func.functional_call(position, {"table": table}, (place,))

    assert torch.autograd.gradcheck(out, position.table)


def test_a_table_resized_to_its_own_size_stays():
    position = Learned(d_model=4, sizes=[5, 7])
    torch.testing.assert_close(position.resized(5, 7).table, position.table)
    assert Learned(d_model=4, sizes=[5]).resized(9).table.shape == (9, 4)
    assert Learned(d_model=4, sizes=[2, 2, 2]).resized(3, 4, 5).table.shape == (3, 4, 5, 4)


@pytest.mark.parametrize("kind", [*KINDS, partial(Learned, sizes=[4])])
def test_no_tokens_give_no_vectors(kind):
    assert kind(d_model=8)(torch.zeros(0, 1)).shape == (0, 8)


@pytest.mark.parametrize("kind", KINDS[:4])
def test_another_number_of_axes_is_told_with_both_numbers(kind):
    with pytest.raises(ValueError, match=r"positions have 0 axes, .* has n_axes=2"):
        kind(d_model=8, n_axes=2)(torch.zeros(3, 0))


def test_no_positions_take_tokens_with_any_number_of_axes():
    assert not NoPositions(d_model=8, n_axes=1)(torch.rand(3, 0)).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": []}, r"sizes=\[\]"),
        ({"sizes": [4, 0]}, r"sizes=\[4, 0\]"),
        ({"sizes": [4, 4], "n_axes": 1}, r"sizes=\[4, 4\] are 2 axes, and n_axes=1"),
        ({"sizes": [4], "coordinates": "metres"}, "coordinates='metres'"),
    ],
)
def test_impossible_tables_are_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        Learned(d_model=8, **arguments)


@pytest.mark.parametrize("place", [[4.0, 0.0], [0.0, -1.0]])
def test_a_position_outside_the_table_is_told(place):
    with pytest.raises(ValueError, match=r"of token 1 lies outside the learned grid of sizes \[4, 4\]"):
        Learned(d_model=8, sizes=[4, 4])(torch.tensor([[0.0, 0.0], place]))


def test_too_narrow_sinusoids_are_told():
    with pytest.raises(ValueError, match=r"d_model=4 .* n_axes=3"):
        Sinusoidal(d_model=4, n_axes=3)
    with pytest.raises(ValueError, match=r"d_model=3 must have at least 4 features"):
        SinusoidalHalves(d_model=3, to_base=True)


def test_sinusoids_of_a_bfloat16_model_are_as_exact_as_in_float32():
    position = Sinusoidal(d_model=64)
    places = torch.arange(1000.0)[:, None]
    before = position(places)
    assert torch.equal(position.to(torch.bfloat16)(places), before)


def test_a_table_may_begin_behind_rows_that_are_no_places():
    position = Learned(d_model=4, sizes=[6], first=2)
    torch.testing.assert_close(position(torch.tensor([[0.0], [3.0]])), position.table[[2, 5]])
    with pytest.raises(ValueError, match="outside the learned grid"):
        position(torch.tensor([[4.0]]))
    with pytest.raises(ValueError, match="outside the learned grid"):
        position(torch.tensor([[-1.0]]))
    with pytest.raises(ValueError, match="cannot stretch"):
        position.resized(12)
    with pytest.raises(ValueError, match="first=6 must be a place"):
        Learned(d_model=4, sizes=[6], first=6)


@pytest.fixture
def exporting(monkeypatch):
    """As parts see the world while a program is traced from them."""
    return lambda: monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)


@pytest.mark.parametrize("coordinates", ["index", "unit"])
@pytest.mark.parametrize("sizes", [[7], [4, 1], [3, 5]], ids=str)
def test_an_exported_program_reads_the_same_learned_vectors(sizes, coordinates, exporting):
    position = Learned(d_model=6, sizes=sizes, coordinates=coordinates, init_std=1.0)
    generator = torch.Generator().manual_seed(0)
    between = torch.rand(20, len(sizes), generator=generator)
    between = between if coordinates == "unit" else between * (torch.tensor(sizes) - 1)
    places = torch.cat([position.drawn(20, generator), between])
    expected = position(places)
    exporting()
    torch.testing.assert_close(position(places), expected)


def test_an_exported_program_has_no_vector_beyond_the_grid_in_the_place_of_one(exporting):
    exporting()
    with pytest.raises(IndexError, match="out of bounds"):
        Learned(d_model=6, sizes=[4])(torch.tensor([[4.0]]))


@pytest.mark.parametrize("coordinates", ["index", "unit"])
def test_coordinates_drawn_to_try_a_model_with_lie_on_the_grid(coordinates):
    position = Learned(d_model=4, sizes=[3, 6], coordinates=coordinates)
    drawn = position.drawn(100, torch.Generator().manual_seed(0))
    assert position(drawn).shape == (100, 4)
    assert drawn.amax(0).tolist() == [2, 5] or (coordinates == "unit" and drawn.amax() > 0.9)
    assert Sinusoidal(d_model=8, n_axes=2).drawn(5, torch.Generator().manual_seed(0)).shape == (5, 2)
    behind = Learned(d_model=4, sizes=[6], first=2).drawn(100, torch.Generator().manual_seed(0))
    assert behind.unique().tolist() == [0, 1, 2, 3]


def test_waves_may_begin_at_another_place():
    places = torch.arange(4.0)[:, None]
    shifted = SinusoidalHalves(d_model=6, to_base=True, first=2)
    assert torch.equal(shifted(places), SinusoidalHalves(d_model=6, to_base=True)(places + 2))
