"""Weights of fewer bits: what they stand for, what is computed with them, what may not be done with them."""

import copy
import logging

import pytest
import torch
from torch import nn

import omniformer
from omniformer.adapters import LoRA, apply_lora, merge
from omniformer.core import Transformer
from omniformer.core.layout import Layout
from omniformer.core.moe import MixtureOfExperts
from omniformer.core.rules import Causal
from omniformer.embedders import IdEmbedder
from omniformer.export.write import export
from omniformer.heads import NextTokenHead
from omniformer.model import OmniFormer
from omniformer.predictor import Predictor
from omniformer.quantization import (
    Int4,
    Int8,
    QuantizedEmbedding,
    QuantizedLinear,
    _packed,
    _unpacked,
    dequantize,
    is_quantized,
    quantize,
)

KINDS = ["int8", "int4"]


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def language_model():
    torch.manual_seed(0)
    return OmniFormer(
        core=Transformer(d_model=64, n_layers=2, n_heads=4),
        embedders={"text": IdEmbedder(d_model=64, vocab_size=128)},
        heads={"prose": NextTokenHead(d_model=64, vocab_size=128)},
        rules={"prose": Causal()},
    )


def test_codes_stand_for_the_nearest_numbers_that_they_can_by_plain_loops():
    weight = drawn(64, 64) * torch.logspace(-6, 3, 64)[:, None]
    weight[5] = 0
    eight, four = Int8(weight).dequantized(), Int4(weight).dequantized()
    for row in range(64):
        largest = float(weight[row].abs().max())
        step = largest / 127  # half of it by rounding, and what the scale in bfloat16 leaves of the largest number
        assert float((eight[row] - weight[row]).abs().max()) <= step / 2 + largest / 256
        for group in range(0, 64, 32):
            part = weight[row, group : group + 32]
            width = float(part.max() - part.min())
            wrong = (four[row, group : group + 32] - part).abs().max()
            assert float(wrong) <= width / 30 + (width + float(part.abs().max())) / 128
    assert not eight[5].any() and not four[5].any()


@pytest.mark.parametrize("block", [32, 64])
def test_halves_of_bytes_come_back_in_any_order_of_rows(block):
    numbers = torch.randint(0, 16, (128, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    packed = _packed(numbers, block)
    assert packed.shape == (128, 48) and torch.equal(_unpacked(packed, block), numbers)


@pytest.mark.parametrize("make", [Int8, Int4])
@pytest.mark.parametrize("tokens", [1, 5])
def test_the_kernel_computes_what_the_codes_stand_for(make, tokens):
    codes, x = make(drawn(128, 96)), drawn(tokens, 96, seed=1)
    quick = codes.product(x)
    if quick is None:
        pytest.skip("torch has no kernel for the host")
    rounded = x.bfloat16().float() @ codes.dequantized().T
    torch.testing.assert_close(quick.float(), rounded, rtol=2**-7, atol=0.02)


@pytest.mark.parametrize("columns", [24, 40, 20])
def test_rows_that_are_no_multiple_of_16_are_not_given_to_a_kernel_that_reads_beyond_their_end(columns):
    linear, x = nn.Linear(columns, 300), drawn(1, columns, seed=1)
    quantize(holder := nn.ModuleList([linear]), "int8")
    assert holder[0].codes.product(x) is None
    with torch.no_grad():
        found = holder[0](x)
    torch.testing.assert_close(found, x @ holder[0].codes.dequantized().T + holder[0].bias, rtol=1e-4, atol=1e-4)


def test_rows_that_lie_as_another_machine_reads_them_are_read_rightly():
    weight, x = drawn(64, 64), drawn(2, 64, seed=1)
    here, there = nn.Linear(64, 64), nn.Linear(64, 64)
    here.weight.data = weight.clone()
    there.load_state_dict(here.state_dict())
    quantize(holder := nn.ModuleList([here, there]), "int4")
    other = 96 - int(here.codes.block)  # 32 and 64
    there.codes.numbers = _packed(_unpacked(here.codes.numbers, int(here.codes.block)), other)
    there.codes.block.fill_(other)
    assert torch.equal(holder[0].weight, holder[1].weight)
    with torch.no_grad():
        torch.testing.assert_close(there(x), here(x), rtol=0.02, atol=0.05)


@pytest.mark.parametrize("weights", KINDS)
def test_what_learns_around_codes_gets_the_gradients_of_the_rounded_weights(weights):
    rounded = Transformer(d_model=64, n_layers=1, n_heads=4)
    apply_lora(rounded, LoRA(rank=2, targets=["query", "value", "down"], init="normal"))
    for name, parameter in rounded.named_parameters():
        if name.endswith(".b"):
            parameter.data = drawn(*parameter.shape, seed=3)
    quantize(rounded, weights)
    plain = copy.deepcopy(rounded)
    dequantize(plain)
    assert type(plain.blocks[0].attention.branch.qkv) is nn.Linear
    x, outs = drawn(5, 64), []
    for model in (rounded, plain):
        out = model(x, Layout.from_lengths(2, 3), Causal())
        out.square().sum().backward()
        outs.append(out)
    assert torch.equal(*outs)
    theirs = dict(plain.named_parameters())
    learned = {name: each.grad for name, each in rounded.named_parameters() if each.grad is not None}
    assert len(learned) == 6 and all(torch.equal(grad, theirs[name].grad) for name, grad in learned.items())


def test_tied_tables_stay_one_and_maps_that_do_not_fit_have_eight_bits():
    model = language_model()
    before = model.heads["prose"].ids.weight.detach().clone()
    quantize(model, "int4")
    table, ids = model.embedders["text"].table, model.heads["prose"].ids
    assert isinstance(table, QuantizedEmbedding) and isinstance(ids, QuantizedLinear) and table.codes is ids.codes
    assert isinstance(ids.codes, Int8) and isinstance(model.core.blocks[0].attention.branch.qkv.codes, Int4)
    torch.testing.assert_close(table(torch.tensor([[3, 5]])), before[[3, 5]][None], rtol=0, atol=0.001)
    dequantize(model)
    assert table.weight is ids.weight and isinstance(table, nn.Embedding) and not is_quantized(model)
    odd = nn.ModuleList([nn.Linear(100, 80)])
    quantize(odd, "int4")
    assert isinstance(odd[0].codes, Int8)


@pytest.mark.parametrize("weights", KINDS)
def test_a_type_that_is_asked_for_is_that_of_what_is_computed(weights):
    model = nn.Sequential(nn.Linear(64, 64))
    quantize(model, weights)
    with torch.no_grad():
        before = model(drawn(40, 64))
        model.to(torch.bfloat16)
        assert model[0].weight.dtype == torch.bfloat16 and model(drawn(2, 64).bfloat16()).dtype == torch.bfloat16
        model.to(torch.float32)
        torch.testing.assert_close(model(drawn(40, 64)), before, rtol=0, atol=0.02)  # the offset was rounded


@pytest.mark.parametrize("bias", [True, False])
def test_a_map_takes_tokens_on_any_number_of_axes(bias):
    linear, x = nn.Linear(64, 128, bias=bias), drawn(6, 64)
    quantize(holder := nn.ModuleList([linear]), "int8")
    with torch.no_grad():
        flat = holder[0](x)
        for shape in [(2, 3), (1, 6, 1)]:
            found = holder[0](x.view(*shape, 64))
            assert found.dtype == torch.float32 and torch.equal(found, flat.view(*shape, 128))
        torch.testing.assert_close(holder[0](x[0]), flat[0], rtol=0.01, atol=0.01)
        assert holder[0](x[:0]).shape == (0, 128)


def test_large_parts_that_stay_are_named_and_routers_and_small_maps_are_left_alone(caplog):
    experts = nn.ModuleList([MixtureOfExperts(64, n_experts=64), nn.Linear(64, 64), nn.Linear(64, 2)])
    with caplog.at_level(logging.WARNING):
        quantize(experts, "int8")
    assert "weights=int8 leaves 100 % of the numbers as they are: 0.gate_up, 0.down" in caplog.text
    assert type(experts[0].router) is nn.Linear and type(experts[2]) is nn.Linear
    assert isinstance(experts[1], QuantizedLinear)


def test_what_learns_can_be_kept():
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    quantize(model, "int8", keep=["1.weight"])
    assert isinstance(model[0], QuantizedLinear) and type(model[1]) is nn.Linear


def test_bf16_casts_everything():
    model = language_model()
    quantize(model, "bf16")
    assert {each.dtype for each in model.parameters()} == {torch.bfloat16}


def test_mistakes_are_told(tmp_path):
    model = language_model()
    with pytest.raises(ValueError, match="weights='int3' is unknown; choose bf16, int8, int4"):
        quantize(model, "int3")
    with pytest.raises(ValueError, match="this model is not quantized"):
        dequantize(model)
    quantize(model, "int8")
    with pytest.raises(ValueError, match="this model is quantized already; load it anew"):
        quantize(model, "int4")
    with pytest.raises(ValueError, match="are rounded to whole numbers; take the folder that it was loaded from"):
        omniformer.save(tmp_path / "model", Predictor(model, {}), recipe={})
    with pytest.raises(ValueError, match="are rounded to whole numbers"):
        export(Predictor(model, {}), tmp_path / "program", formats=["pt2"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="are one weight"):
        apply_lora(model, LoRA(targets=["heads.prose.ids"]))
    apply_lora(model, LoRA(targets=["query"]))
    with pytest.raises(ValueError, match="are rounded to whole numbers"):
        merge(model)
    broken = nn.Sequential(nn.Linear(64, 64))
    nn.init.constant_(broken[0].weight, float("nan"))
    with pytest.raises(ValueError, match=r"0\.weight holds numbers that are not finite"):
        quantize(broken, "int8")
    with pytest.raises(ValueError, match=r"a weight \[3, 32\] needs rows in multiples of 64, columns in those of 32"):
        Int4(torch.zeros(3, 32))
