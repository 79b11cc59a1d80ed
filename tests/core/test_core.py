"""What is asked of a core."""

import pytest
import torch
from torch import nn

from omniformer.core.block import CrossBlock
from omniformer.core.core import kinds, reader, together, writer
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full
from omniformer.core.towers import Towers
from omniformer.core.transformer import Transformer
from omniformer.core.variants.recurrent import Recurrent
from omniformer.core.variants.recurrent_decoder import RecurrentDecoder

SIZES = {"d_model": 8, "n_layers": 1, "n_heads": 2, "init_std": 0.3}
LAYOUT, OTHER = Layout.from_lengths(2, 3), Layout.from_lengths(4, 1)


class Own(nn.Module):
    """A core of a user's own, which is called like one and says nothing."""

    d_model, reads_memory = 8, False

    def forward(self, x, layout, rule):
        return x if isinstance(rule, Full) else -x


def pair():
    torch.manual_seed(0)
    return EncoderDecoder(encoder=Transformer(**SIZES), decoder=Transformer(**SIZES, block=CrossBlock)).eval()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Transformer(**SIZES),
        lambda: Recurrent(d_model=8, n_layers=1),
        lambda: RecurrentDecoder(d_model=8),
        Own,
    ],
)
def test_most_cores_are_one_part_that_reads_and_writes(make):
    core = make()
    assert reader(core) is core
    assert writer(core) is core
    assert list(kinds(core)) == [core]


def test_the_parts_of_a_pair_and_of_towers():
    both = pair()
    assert (reader(both), writer(both)) == (both.encoder, both.decoder) == tuple(kinds(both))
    towers = Towers(towers=[Transformer(**SIZES), Transformer(**SIZES)])
    assert reader(towers) is writer(towers) is towers
    assert list(kinds(towers)) == list(towers.towers)


def test_together_is_the_pass_that_a_core_makes_of_its_tokens():
    x, y = torch.randn(5, 8), torch.randn(5, 8)
    assert torch.equal(together(Own(), [(x, LAYOUT)]), x)
    assert torch.equal(together(Own(), [(x, LAYOUT)], Causal()), -x)
    both = pair()
    torch.testing.assert_close(together(both, [(x, LAYOUT), (y, OTHER)]), both(x, LAYOUT, y, OTHER))
    torch.testing.assert_close(
        together(both, [(x, LAYOUT), (y, OTHER)], Full()), both(x, LAYOUT, y, OTHER, target_rule=Full())
    )
