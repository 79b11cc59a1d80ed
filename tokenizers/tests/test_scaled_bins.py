"""Series as bins of their scaled values, beyond the contract."""

import math

import pytest
import torch
from omniformer_tokenizers import ScaledBinsTokenizer


def by_hand(series, n_bins, low, high):
    """Each value by itself: the nearest centre, the upper one between two."""
    scale = sum(abs(value) for value in series) / len(series) or 1.0
    width = (high - low) / (n_bins - 1)
    found = []
    for value in series:
        place = math.floor((value / scale - low) / width + 0.5)
        found.append(3 + min(max(place, 0), n_bins - 1))
    return [*found, 1], scale


@pytest.mark.parametrize(("n_bins", "low", "high"), [(4093, -15.0, 15.0), (7, -1.0, 2.0)])
def test_values_fall_into_the_nearest_bin_of_their_scaled_size(n_bins, low, high):
    generator = torch.Generator().manual_seed(0)
    series = torch.randn(50, generator=generator) * 30 + 10
    series[3] = 1e6  # beyond the last bin
    tokenizer = ScaledBinsTokenizer(n_bins=n_bins, low=low, high=high)
    expected, scale = by_hand(series.tolist(), n_bins, low, high)
    tokens = tokenizer(series)
    assert tokens.values.tolist() == expected
    assert tokens.facts["scale"].item() == pytest.approx(scale, rel=1e-6)
    inside = (series / scale - low > 0) & (series / scale < high)
    near = (tokenizer.decode(tokens) - series).abs() / scale
    assert float(near[inside].max()) <= (high - low) / (n_bins - 1) / 2 * 1.001


def test_a_value_between_two_bins_belongs_to_the_upper_one():
    tokenizer = ScaledBinsTokenizer(n_bins=5, low=-2.0, high=2.0)
    assert tokenizer(torch.tensor([0.5, -1.5])).values.tolist() == [6, 4, 1]


def test_what_lies_before_the_context_or_the_first_value_is_not_read():
    tokenizer, series = ScaledBinsTokenizer(context=4), torch.tensor([9.0, 1.0, 2.0, 3.0, 4.0])
    assert tokenizer(series).values.tolist() == tokenizer(series[1:]).values.tolist()
    late = torch.cat([torch.full((3,), torch.nan), series[3:]])
    assert tokenizer(late).values.tolist() == tokenizer(series[3:]).values.tolist()
    assert tokenizer(torch.full((3,), torch.nan)).values.tolist() == []


def test_ids_mean_values_of_the_size_that_is_given():
    tokenizer = ScaledBinsTokenizer(n_bins=5, low=-2.0, high=2.0)
    found = tokenizer.values(torch.tensor([[0, 2, 3], [5, 7, 99]]), torch.tensor([10.0]))
    assert found.tolist() == [[-20.0, -20.0, -20.0], [0.0, 20.0, 20.0]]


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (torch.tensor([1.0, torch.nan, 2.0]), r"1 of 3 steps after the first value are missing \(NaN\)"),
        (torch.tensor([1.0, torch.inf]), "infinite numbers"),
        (torch.ones(2, 3), r"expected floats \[time\]"),
    ],
)
def test_series_that_cannot_be_read_are_refused(series, message):
    with pytest.raises(ValueError, match=message):
        ScaledBinsTokenizer()(series)


def test_written_tokens_do_not_know_their_scale():
    from omniformer_tokenizers import Tokens

    tokens = Tokens(values=torch.tensor([5]), positions=torch.zeros(1, 1), modality="steps")
    with pytest.raises(ValueError, match="forecast with a Forecaster"):
        ScaledBinsTokenizer().decode(tokens)
    with pytest.raises(ValueError, match=r"low=2.0 must be below high=1.0"):
        ScaledBinsTokenizer(low=2.0, high=1.0)
