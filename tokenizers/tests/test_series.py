import pytest
import torch
from omniformer_tokenizers import SeriesTokenizer


def test_each_variable_has_mean_0_and_deviation_1_over_what_is_present():
    series = torch.randn(2, 64) * torch.tensor([[5.0], [0.1]]) + torch.tensor([[100.0], [-3.0]])
    series[0, 10:20] = torch.nan
    tokens = SeriesTokenizer(patch_length=8)(series)
    for variable in range(2):
        rows = tokens.values[tokens.positions[:, 1] == variable]
        values, present = rows[:, :8], rows[:, 8:] > 0
        assert values[present].mean().abs() < 1e-4
        assert values[present].std(correction=0) == pytest.approx(1, abs=1e-4)
        assert (values[~present] == 0).all()


def test_missing_values_and_the_filled_up_end_are_marked():
    series = torch.tensor([[1.0, torch.nan, 3.0]])
    tokens = SeriesTokenizer(patch_length=2, scaling="none")(series)
    assert tokens.values.tolist() == [[1, 0, 1, 0], [3, 0, 1, 0]]
    assert tokens.positions.tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize("series", [torch.full((1, 5), 7.0), torch.full((1, 5), torch.nan), torch.full((1, 5), 1e6)])
def test_constant_and_missing_variables_survive(series):
    tokenizer = SeriesTokenizer(patch_length=4)
    tokens = tokenizer(series)
    assert torch.isfinite(tokens.values).all()
    torch.testing.assert_close(tokenizer.decode(tokens), series, equal_nan=True)


def test_large_offsets_do_not_spoil_small_changes():
    series = 1e5 + torch.arange(64.0)[None] / 64
    values = SeriesTokenizer(patch_length=64)(series).values[0, :64]
    assert values.std(correction=0) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (torch.zeros(3), r"received torch.float32 \[3\]; expected floats \[variables, time\]"),
        (torch.zeros(1, 3, dtype=torch.int64), "received torch.int64"),
        (torch.tensor([[torch.inf]]), "infinite numbers; mark missing values with NaN"),
    ],
)
def test_series_of_another_kind_are_refused(raw, message):
    with pytest.raises(ValueError, match=message):
        SeriesTokenizer()(raw)


def test_a_patch_needs_a_time_step():
    with pytest.raises(ValueError, match="patch_length=0 is too small"):
        SeriesTokenizer(patch_length=0)


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (0, 37), (3, 0), (1, 1), (2, 17)])
@pytest.mark.parametrize("scaling", ["instance", "none"])
def test_series_of_any_size_come_back(size, scaling):
    tokenizer = SeriesTokenizer(patch_length=16, scaling=scaling)
    series = torch.rand(size)
    torch.testing.assert_close(tokenizer.decode(tokenizer(series)), series)
