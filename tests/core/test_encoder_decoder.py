"""Assembly and decoding; beside PyTorch's decoder and T5 it stands in test_against_torch.py and
test_against_huggingface.py."""

import pytest
import torch

from omniformer.core.block import CrossBlock
from omniformer.core.cache import KVCache, StaticCache
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Window
from omniformer.core.transformer import Transformer


def build():
    torch.manual_seed(0)
    sizes = {"d_model": 16, "n_layers": 2, "n_heads": 2, "init_std": 0.3}
    return EncoderDecoder(encoder=Transformer(**sizes), decoder=Transformer(**sizes, block=CrossBlock)).eval()


SOURCE, TARGET = Layout.from_lengths(4, 1, 3), Layout.from_lengths(2, 5, 3)


def test_the_target_reads_all_of_its_source_and_the_past_of_itself():
    model = build()
    source, target = torch.randn(8, 16, requires_grad=True), torch.randn(10, 16, requires_grad=True)
    out = model(source, SOURCE, target, TARGET)
    for token, row in enumerate(out):
        by_source, by_target = torch.autograd.grad(row[0], [source, target], retain_graph=True)
        sample = TARGET.sample[token]
        assert torch.equal(by_source.abs().sum(-1) > 0, SOURCE.sample == sample)
        past = (TARGET.sample == sample) & (torch.arange(10) <= token)
        assert torch.equal(by_target.abs().sum(-1) > 0, past)


def test_rules_of_both_sides_are_the_callers_choice():
    model, source, target = build(), torch.randn(8, 16), torch.randn(10, 16)
    default = model(source, SOURCE, target, TARGET)
    assert torch.equal(model(source, SOURCE, target, TARGET, source_rule=Full(), target_rule=Causal()), default)
    for rules in ({"source_rule": Window(left=0)}, {"target_rule": Full()}):
        assert not torch.allclose(model(source, SOURCE, target, TARGET, **rules), default, atol=1e-4)


@pytest.mark.parametrize("make", [KVCache, lambda **sizes: StaticCache(capacity=5, **sizes)])
@torch.no_grad()
def test_writing_step_by_step_equals_writing_at_once(make):
    model, source, target = build(), torch.randn(8, 16), torch.randn(10, 16)
    expected = model(source, SOURCE, target, TARGET).split([2, 5, 3])
    parts, cache = target.split([2, 5, 3]), make(n_layers=2, n_samples=3)
    memory, outs = model.encode(source, SOURCE), [[], [], []]
    for i in range(5):
        lengths = torch.tensor([int(i < n) for n in (2, 5, 3)])
        layout, _ = cache.extend(lengths)
        x = torch.cat([part[i : i + 1] for part in parts])
        y = model.decode(x, layout, memory if i == 0 else None, cache=cache).split(lengths.tolist())
        for out, row in zip(outs, y, strict=True):
            out.append(row)
    for out, whole in zip(outs, expected, strict=True):
        torch.testing.assert_close(torch.cat(out), whole, rtol=1e-5, atol=1e-5)


def test_a_decoder_without_cross_attention_is_told():
    core = Transformer(d_model=16, n_layers=1, n_heads=2)
    with pytest.raises(ValueError, match="no cross-attention"):
        EncoderDecoder(encoder=core, decoder=core)
