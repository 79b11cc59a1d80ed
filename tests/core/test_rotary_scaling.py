"""Scalings beside their definitions; beside Hugging Face's they stand in test_against_huggingface.py."""

import math

import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.core.rotary import Rotary
from omniformer.core.rotary_scaling import DynamicNTK, LinearScaling, Llama3Scaling, LongRoPE, NTKScaling, YaRN

N, BASE = 16, 10_000.0
PLAIN = torch.tensor([BASE ** (-i / N) for i in range(N)], dtype=torch.float64)


def frequencies(scaling):
    return Rotary(head_dim=2 * N, base=BASE, scaling=scaling).frequency().double()


def test_linear_scaling_reads_a_longer_context_as_the_old_one_squeezed():
    torch.testing.assert_close(frequencies(LinearScaling(factor=4.0)), PLAIN / 4, rtol=1e-6, atol=0)


def test_ntk_scaling_is_a_larger_base():
    d, factor = 2 * N, 8.0
    base = BASE * factor ** (d / (d - 2))
    expected = torch.tensor([base ** (-2 * i / d) for i in range(N)], dtype=torch.float64)
    ours = frequencies(NTKScaling(factor=factor))
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=0)
    assert ours[0] == 1.0
    assert ours[-1].item() == pytest.approx(PLAIN[-1].item() / factor)


def test_yarn_keeps_fast_waves_divides_slow_ones_and_mixes_between():
    length, factor = 2048, 16.0
    turns = length * PLAIN / (2 * math.pi)
    kept = frequencies(YaRN(factor=factor, original_seq_len=length)) / PLAIN
    torch.testing.assert_close(kept[turns > 64], torch.ones(int((turns > 64).sum())).double(), rtol=1e-6, atol=0)
    slow = turns < 0.5
    torch.testing.assert_close(kept[slow], torch.full((int(slow.sum()),), 1 / factor).double(), rtol=1e-6, atol=0)
    assert (kept.diff() <= 1e-7).all()


def test_yarn_raises_scores_by_the_papers_temperature():
    rotary = Rotary(head_dim=2 * N, scaling=YaRN(factor=16.0, original_seq_len=64))
    # Queries and keys both grow by 0.1 ln s + 1, scores by its square (equation 22).
    assert rotary.amplitude == pytest.approx(0.1 * math.log(16.0) + 1)


def test_yarn_takes_an_amplitude_of_its_own_and_bounds_between_frequencies():
    assert YaRN(factor=16.0, original_seq_len=64, amplitude=0.5).amplitude == 0.5
    length, factor = 2048, 16.0
    kept = frequencies(YaRN(factor=factor, original_seq_len=length, whole=False)) / PLAIN

    def bound(turns):
        return N * math.log(length / (2 * math.pi * turns)) / math.log(BASE)

    low, high = bound(32), bound(1)
    mixed = [min(max((i - low) / (high - low), 0), 1) for i in range(N)]
    expected = torch.tensor([1 - share + share / factor for share in mixed]).double()
    torch.testing.assert_close(kept, expected, rtol=1e-5, atol=0)
    assert not torch.allclose(kept, frequencies(YaRN(factor=factor, original_seq_len=length)) / PLAIN)


def test_llama3_scaling_keeps_short_waves_and_stretches_long_ones():
    wave = 2 * math.pi / PLAIN
    kept = frequencies(Llama3Scaling(factor=8.0, original_seq_len=512)) / PLAIN
    assert torch.allclose(kept[wave < 512 / 4], torch.ones(()).double())
    assert torch.allclose(kept[wave > 512], torch.tensor(1 / 8).double())


def turns(scaling, *lengths):
    """Angles of samples of these lengths, in one batch."""
    rotation = Rotary(head_dim=2 * N, base=BASE, scaling=scaling)(Layout.from_lengths(*lengths))
    return torch.atan2(rotation.sin, rotation.cos)[:, 0, :N].double()


def wrapped(angles):
    return torch.atan2(angles.sin(), angles.cos())


def test_dynamic_ntk_is_a_base_that_grows_with_each_text_and_not_with_its_neighbours():
    d, factor, longest = 2 * N, 2.0, 8
    found = turns(DynamicNTK(factor=factor, original_seq_len=longest), 5, 20, 8)
    for first, n in ((0, 5), (5, 20), (25, 8)):
        growth = max(1.0, factor * n / longest - (factor - 1))
        base = BASE * growth ** (d / (d - 2))
        frequency = torch.tensor([base ** (-2 * i / d) for i in range(N)], dtype=torch.float64)
        expected = wrapped(torch.arange(n, dtype=torch.float64)[:, None] * frequency)
        torch.testing.assert_close(found[first : first + n], expected, rtol=1e-5, atol=1e-6)


def test_longrope_has_one_set_of_factors_for_short_texts_and_one_for_long_ones():
    short, long = [1 + i / N for i in range(N)], [1.0 + i for i in range(N)]
    scaling = LongRoPE(short=short, long=long, original_seq_len=8, amplitude=1.5)
    found = turns(scaling, 8, 9)
    for first, n, factors in ((0, 8, short), (8, 9, long)):
        frequency = PLAIN / torch.tensor(factors, dtype=torch.float64)
        expected = wrapped(torch.arange(n, dtype=torch.float64)[:, None] * frequency)
        torch.testing.assert_close(found[first : first + n], expected, rtol=1e-5, atol=1e-6)
    rotation = Rotary(head_dim=2 * N, base=BASE, scaling=scaling)(Layout.from_lengths(3))
    torch.testing.assert_close((rotation.cos.square() + rotation.sin.square()).sqrt(), torch.full((3, 1, 2 * N), 1.5))
    with pytest.raises(ValueError, match=f"short has 2 and long {N} factors for {N} frequencies"):
        frequencies(LongRoPE(short=[1.0, 2.0], long=long, original_seq_len=8))


def test_processes_that_divide_a_text_turn_by_its_whole_length():
    layout = Layout.from_lengths(20, 5)
    mine = torch.tensor([*range(6), 20, 21])  # the longer text seems shorter than 8 here
    part = Layout(lengths=torch.tensor([6, 2]), places=layout.index[mine])
    rotary = Rotary(head_dim=2 * N, scaling=DynamicNTK(factor=2.0, original_seq_len=8))
    assert torch.equal(rotary(part, layout).cos, rotary(layout).cos[mine])


@pytest.mark.parametrize(
    "scaling",
    [
        LinearScaling,
        NTKScaling,
        lambda factor: YaRN(factor=factor, original_seq_len=64),
        lambda factor: DynamicNTK(factor=factor, original_seq_len=64),
    ],
)
def test_factor_one_changes_nothing_and_less_is_told(scaling):
    torch.testing.assert_close(frequencies(scaling(factor=1.0)), PLAIN, rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match=r"factor=0\.5"):
        scaling(factor=0.5)


def test_impossible_arguments_are_told():
    with pytest.raises(ValueError, match="original_seq_len=0"):
        YaRN(factor=2.0, original_seq_len=0)
    with pytest.raises(ValueError, match="original_seq_len=0"):
        LongRoPE(short=[1.0], long=[1.0], original_seq_len=0)
    with pytest.raises(ValueError, match=r"high=1\.0 above low=1\.0"):
        Llama3Scaling(low=1.0, high=1.0)


def test_texts_of_any_length_have_one_set_of_frequencies_where_a_scaling_says_no_other():
    scaling, usual = LinearScaling(factor=4.0), torch.tensor([1.0, 0.5])
    assert scaling.longest is None
    assert scaling.of_length(usual, torch.tensor([[3], [9000]])).tolist() == [[1.0, 0.5]] * 2
