import copy

import pytest
import torch

from omniformer.core.biases import ALiBi
from omniformer.core.frequencies import Frequencies
from omniformer.core.layout import Layout


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_numbers_survive_every_dtype_a_model_may_be_cast_to(dtype):
    numbers = torch.rand(100)
    frequencies = Frequencies(numbers)
    assert torch.equal(copy.deepcopy(frequencies).to(dtype)(), numbers)
    assert frequencies.state_dict() == {}


def test_alibi_of_a_bfloat16_model_tells_far_neighbours_apart():
    bias = ALiBi(n_heads=6).to(torch.bfloat16)
    view = Layout.from_lengths(2000).view()
    scores = bias(view[-1:], view[:100])
    assert (scores.diff(dim=-1) > 0).all()
