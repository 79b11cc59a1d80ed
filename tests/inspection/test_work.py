import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Window
from omniformer.core.transformer import Transformer
from omniformer.data.deal import Work
from omniformer.heads import NextTokenHead
from omniformer.inspection.cost import forward_cost
from omniformer.inspection.work import token_and_pair
from omniformer.model import OmniFormer


def model(device="meta"):
    with torch.device(device):
        core = Transformer(d_model=16, n_layers=2, n_heads=2)
        return OmniFormer(core=core, embedders={}, heads={"x": NextTokenHead(d_model=16, vocab_size=11, tied=False)})


@pytest.mark.quick(3)
@pytest.mark.parametrize("rule", [Full(), Causal(), Window(left=5, right=3)])
@pytest.mark.parametrize("length", [1, 7, 300])
def test_two_numbers_tell_what_a_core_and_its_head_compute_for_any_length(rule, length):
    token, pair = token_and_pair(model(), "x")
    reach = rule.reach()
    exact = forward_cost(model().core, Layout.from_lengths(length), rule).flops + 2 * 16 * 11 * length
    assert Work(token=token, pair=pair, left=reach.left, right=reach.right).of(length) == exact


def test_a_model_with_real_weights_is_refused():
    with pytest.raises(ValueError, match="build it under torch.device"):
        token_and_pair(model("cpu"), "x")
