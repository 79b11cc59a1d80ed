"""The units in which numbers are learned come from the samples that are trained on."""

import pytest
import torch

from omniformer.data.source import Raw
from omniformer.data.units import units

NAN = float("nan")


def raws(*values):
    return [Raw(id=f"r{i}", contents={}, targets={"value": torch.tensor(value)}) for i, value in enumerate(values)]


def test_each_number_has_its_own_mean_and_deviation_over_what_is_known():
    found = units(raws([1.0, 1e6], [3.0, NAN], [NAN, 3e6], [5.0, 2e6]))
    assert found["target_mean"] == pytest.approx([3.0, 2e6])
    assert found["target_std"] == pytest.approx([(8 / 3) ** 0.5, (2 / 3) ** 0.5 * 1e6])


def test_equal_numbers_and_unknown_ones_have_the_unit_one():
    assert units(raws([0.1, NAN], [0.1, NAN])) == {"target_mean": [pytest.approx(0.1), 0.0], "target_std": [1.0, 1.0]}
    assert units(raws(7.0))["target_std"] == [1.0]


def test_data_without_values_are_not_looked_through():
    def endless():
        while True:
            yield Raw(id="x", contents={}, targets={"label": torch.tensor(0)})

    assert units(endless()) == {}
    assert units([]) == {}


def test_what_cannot_be_learned_is_named():
    with pytest.raises(ValueError, match="sample 'r1' has the value"):
        units(raws(1.0, float("inf")))
    with pytest.raises(ValueError, match="sample 'r1' has 1 values and 'r0' 2"):
        units(raws([1.0, 2.0], [1.0]))
    with pytest.raises(ValueError, match="sample 'y' has no target 'value', unlike 'r0'"):
        units([*raws(1.0), Raw(id="y", contents={})])
