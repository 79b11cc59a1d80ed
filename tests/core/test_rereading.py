import pytest
import torch

from omniformer.core.block import CrossBlock
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.layout import Layout
from omniformer.core.rereading import Rereading
from omniformer.core.rules import Causal, Full, Window
from omniformer.core.transformer import Transformer

SIZES = {"n_layers": 2, "n_heads": 2, "init_std": 0.3}
LAYOUT = Layout.from_lengths(4, 0, 3)


def made():
    torch.manual_seed(0)
    encoder, decoder = Transformer(d_model=16, **SIZES), Transformer(d_model=16, block=CrossBlock, **SIZES)
    return Rereading(encoder=encoder, decoder=decoder).eval(), EncoderDecoder(encoder=encoder, decoder=decoder).eval()


@pytest.mark.parametrize("rule", [None, Full(), Window(left=1, right=1)])
def test_it_is_the_pair_over_both_halves_of_its_input(rule):
    core, pair = made()
    x = torch.randn(7, 32)
    behind = None if rule in (None, Full()) else Causal() & rule
    expected = pair(x[:, :16], LAYOUT, x[:, 16:], LAYOUT, source_rule=rule, target_rule=behind)
    torch.testing.assert_close(core(x, LAYOUT, rule), expected)


def test_an_early_token_depends_on_what_the_encoder_reads_later_not_on_what_the_decoder_does():
    core, _ = made()
    x = torch.randn(7, 32)
    read, written = x.clone(), x.clone()
    read[3, :16] = torch.randn(16)
    written[3, 16:] = torch.randn(16)
    assert not torch.allclose(core(x, LAYOUT)[0], core(read, LAYOUT)[0])
    torch.testing.assert_close(core(x, LAYOUT)[:3], core(written, LAYOUT)[:3])


def test_no_token_is_no_output():
    assert made()[0](torch.zeros(0, 16), Layout.from_lengths(0, 0)).shape == (0, 16)


def test_halves_of_two_widths_are_refused():
    with pytest.raises(ValueError, match="the encoder has d_model=8, the decoder 16; give one width"):
        Rereading(encoder=Transformer(d_model=8, **SIZES), decoder=Transformer(d_model=16, block=CrossBlock, **SIZES))
