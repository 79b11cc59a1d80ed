import pytest
import torch
from torch.nn import functional as F

from omniformer.core.positions import Learned


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
    with pytest.raises(RuntimeError, match=r"outside the learned grid of sizes \[4\]"):
        Learned(d_model=6, sizes=[4])(torch.tensor([[4.0]]))


@pytest.mark.parametrize("coordinates", ["index", "unit"])
def test_coordinates_drawn_to_try_a_model_with_lie_on_the_grid(coordinates):
    position = Learned(d_model=4, sizes=[3, 6], coordinates=coordinates)
    drawn = position.drawn(100, torch.Generator().manual_seed(0))
    assert position(drawn).shape == (100, 4)
    assert drawn.amax(0).tolist() == [2, 5] or (coordinates == "unit" and drawn.amax() > 0.9)
    behind = Learned(d_model=4, sizes=[6], first=2).drawn(100, torch.Generator().manual_seed(0))
    assert behind.unique().tolist() == [0, 1, 2, 3]
