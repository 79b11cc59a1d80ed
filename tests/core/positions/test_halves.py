import pytest
import torch

from omniformer.core.positions import Sinusoidal, SinusoidalHalves, StoredSinusoidal


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


def test_waves_may_begin_at_another_place():
    places = torch.arange(4.0)[:, None]
    shifted = SinusoidalHalves(d_model=6, to_base=True, first=2)
    assert torch.equal(shifted(places), SinusoidalHalves(d_model=6, to_base=True)(places + 2))


def test_too_narrow_halves_are_told():
    with pytest.raises(ValueError, match=r"d_model=3 must have at least 4 features"):
        SinusoidalHalves(d_model=3, to_base=True)
