"""Scalings beside their definitions; beside Hugging Face's they stand in test_against_huggingface.py."""

import math

import pytest
import torch

from omniformer.core.rotary import Rotary
from omniformer.core.rotary_scaling import LinearScaling, Llama3Scaling, NTKScaling, YaRN

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


@pytest.mark.parametrize(
    "scaling", [LinearScaling, NTKScaling, lambda factor: YaRN(factor=factor, original_seq_len=64)]
)
def test_factor_one_changes_nothing_and_less_is_told(scaling):
    torch.testing.assert_close(frequencies(scaling(factor=1.0)), PLAIN, rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match=r"factor=0\.5"):
        scaling(factor=0.5)


def test_impossible_arguments_are_told():
    with pytest.raises(ValueError, match="original_seq_len=0"):
        YaRN(factor=2.0, original_seq_len=0)
    with pytest.raises(ValueError, match=r"high=1\.0 above low=1\.0"):
        Llama3Scaling(low=1.0, high=1.0)
