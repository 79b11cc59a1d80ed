"""LoRA on the rows of fused maps: what it computes, what learns, and how it goes in and out of the weights."""

import copy
import pickle
from functools import partial

import pytest
import torch
from torch import nn

from omniformer.adapters import LoRA, adapters, apply_lora, is_adapted, merge, remove, unmerge
from omniformer.adapters.lora import refuse_adapted
from omniformer.core.attention.cross import CrossAttention
from omniformer.core.attention.key_offsets import CrossAttentionWithoutKeyOffset, SelfAttentionWithoutKeyOffset
from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.block import CrossBlock
from omniformer.core.feedforward import GatedFeedForward
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.rules import Causal
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder
from omniformer.folder import save
from omniformer.model import OmniFormer
from omniformer.predictor import Predictor
from omniformer.pretrained import save_pretrained

LAYOUT = Layout.from_lengths(2, 3)
KINDS = {
    "self": {},
    "grouped": {"n_kv_heads": 1},
    "gated": {"feedforward": partial(GatedFeedForward, d_ff=12)},
    "cross": {"block": CrossBlock},
    "without key offset": {
        "block": partial(CrossBlock, cross=CrossAttentionWithoutKeyOffset),
        "attention": SelfAttentionWithoutKeyOffset,
    },
}
ALL = ["query", "key", "value", "out", "up", "down"]


def core(**options):
    torch.manual_seed(0)
    return Transformer(d_model=8, n_layers=2, n_heads=2, output_init="same", init_std=0.3, **options)


def run(model, x):
    memory = Memory(x=torch.linspace(-1, 1, 32).view(4, 8), layout=Layout.from_lengths(1, 3))
    return model(x, LAYOUT, Causal(), **({"memory": memory} if model.reads_memory else {}))


def shake(model):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, update in adapters(model).values():
            update.b.copy_(torch.randn(update.b.shape, generator=generator) * 0.3)


def adapted(lora=None, **options):
    model = core(**options)
    apply_lora(model, lora or LoRA(rank=2, targets=ALL))
    shake(model)
    return model


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_it_begins_as_the_model_was_bit_for_bit(options):
    x = torch.randn(5, 8, generator=torch.Generator().manual_seed(2))
    model = core(**options)
    before = run(model, x)
    apply_lora(model, LoRA(rank=2, targets=ALL))
    assert torch.equal(run(model, x), before)


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_merged_weights_compute_the_same_and_come_out_again(options):
    x = torch.randn(5, 8, generator=torch.Generator().manual_seed(2))
    model = adapted(**options)
    before, expected = copy.deepcopy(model.state_dict()), run(model, x)
    assert not torch.allclose(expected, run(core(**options), x), atol=1e-3)
    merge(model)
    torch.testing.assert_close(run(model, x), expected, rtol=1e-4, atol=1e-5)
    unmerge(model)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=1e-6, atol=1e-6)
    merge(model)
    remove(model)
    assert not is_adapted(model)
    torch.testing.assert_close(run(model, x), expected, rtol=1e-4, atol=1e-5)
    assert model.state_dict().keys() == core(**options).state_dict().keys()


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_each_projection_changes_its_own_rows_by_the_product_of_its_matrices(options):
    model = adapted(LoRA(rank=2, alpha=3.0, targets=["value"]), **options)
    layer = model.blocks[0].attention.branch
    update = layer.qkv.lora["value"]
    n_q, n_kv = layer.n_heads * layer.head_dim, layer.n_kv_heads * layer.head_dim
    before = layer.qkv.weight.clone()
    merge(model)
    change = layer.qkv.weight - before
    expected = torch.zeros_like(before)
    expected[n_q + n_kv :] = 1.5 * torch.einsum("or,ri->oi", update.b, update.a)
    torch.testing.assert_close(change, expected)


def test_only_the_updates_learn_and_all_of_them_do():
    model = adapted(block=CrossBlock)
    run(model, torch.randn(5, 8)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (".lora." in name)
        assert (parameter.grad is not None and bool(parameter.grad.any())) == (".lora." in name), name


def test_names_of_the_weights_stay_and_updates_stand_beside_them():
    model = core()
    before = set(model.state_dict())
    apply_lora(model)
    new = set(model.state_dict()) - before
    assert before <= set(model.state_dict())
    assert new == {
        f"blocks.{i}.attention.branch.qkv.lora.{name}.{half}"
        for i in range(2)
        for name in ("query", "value")
        for half in "ab"
    }


def test_parameters_that_go_on_learning_are_named_by_patterns():
    model = nn.ModuleDict({"core": core(), "heads": nn.ModuleDict({"it": nn.Linear(8, 3)})})
    apply_lora(model)
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name in learning if ".lora." not in name} == {"heads.it.weight", "heads.it.bias"}
    other = nn.ModuleDict({"core": core(), "heads": nn.ModuleDict({"it": nn.Linear(8, 3)})})
    apply_lora(other, train=["core.norm.*"])
    learning = {name for name, parameter in other.named_parameters() if parameter.requires_grad}
    assert {name for name in learning if ".lora." not in name} == {"core.norm.weight", "core.norm.bias"}


def test_targets_are_plain_names_or_patterns_of_paths():
    both = {"blocks.0.cross.branch.query", "blocks.0.attention.branch.query"}
    found = set(apply_lora(core(block=CrossBlock), LoRA(targets=["query"])))
    assert both <= found and len(found) == 4
    assert set(apply_lora(core(block=CrossBlock), LoRA(targets=["blocks.0.*.query"]))) == both
    assert len(apply_lora(core(), LoRA(targets=["qkv"]))) == 2
    assert len(apply_lora(core(), LoRA(targets=["blocks.1.*"]))) == 6  # each projection once, no map twice


def test_dropout_is_of_training_only_and_scales_what_stays():
    model = adapted(LoRA(rank=2, dropout=0.5, targets=ALL))
    x = torch.randn(5, 8)
    model.eval()
    assert torch.equal(run(model, x), run(model, x))
    model.train()
    assert not torch.equal(run(model, x), run(model, x))
    torch.manual_seed(0)
    update = model.blocks[0].attention.branch.qkv.lora["query"]
    mean = torch.stack([update(x) for _ in range(3000)]).mean(0)
    torch.testing.assert_close(mean, update.eval()(x), rtol=0, atol=0.1)


def test_the_scale_divides_by_the_rank_or_by_its_root():
    assert LoRA(rank=16, alpha=8).scale == 0.5
    assert LoRA(rank=16, alpha=8, rank_stabilised=True).scale == 2.0


def test_a_is_drawn_as_told_and_b_is_zero():
    torch.manual_seed(0)
    model = Transformer(d_model=256, n_layers=1, n_heads=2)
    apply_lora(model, LoRA(rank=8, init="uniform"))
    update = model.blocks[0].attention.branch.qkv.lora["query"]
    assert update.a.abs().max() <= 256**-0.5
    assert update.a.std().item() == pytest.approx((3 * 256) ** -0.5, rel=0.1)
    assert not update.b.any()
    remove(model)
    apply_lora(model, LoRA(rank=8, init="normal"))
    assert model.blocks[0].attention.branch.qkv.lora["query"].a.std().item() == pytest.approx(1 / 8, rel=0.1)


def test_updates_of_half_precision_weights_are_float32_and_merge_is_rounded_once():
    model = core().to(torch.bfloat16)
    apply_lora(model, LoRA(rank=2))
    shake(model)
    layer = model.blocks[0].attention.branch.qkv
    update = layer.lora["query"]
    assert update.a.dtype == torch.float32
    before = layer.weight[:8].float()
    assert layer(torch.randn(3, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16
    merge(model)
    assert torch.equal(layer.weight[:8], (before + update.change()).to(torch.bfloat16))


def test_copies_and_pickles_have_updates_of_their_own():
    model = adapted()
    x = torch.randn(5, 8)
    expected = run(model, x)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(run(other, x), expected)
        remove(other)
        assert is_adapted(model) and torch.equal(run(model, x), expected)
        assert not torch.equal(run(other, x), expected)


@pytest.mark.slow
def test_compiled_it_computes_the_same():
    layer = SelfAttention(d_model=8, n_heads=2)
    apply_lora(layer, LoRA(rank=2))
    shake(layer)
    x = torch.randn(5, 8)
    compiled = torch.compile(layer.qkv, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), layer.qkv(x))


def test_a_batch_without_tokens_gives_zero_gradients_so_that_ranks_agree():
    model = adapted()
    model(torch.zeros(0, 8), Layout.from_lengths(0)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)


def test_cross_attention_adapts_query_key_and_value_in_their_own_maps():
    layer = CrossAttention(d_model=8, n_heads=2, d_memory=6)
    apply_lora(layer, LoRA(rank=2, targets=["query", "value"]))
    assert layer.q.lora["query"].b.shape == (8, 2)
    assert layer.kv.lora["value"].a.shape == (2, 6)
    assert (layer.kv.lora["value"].first, layer.kv.lora["value"].last) == (8, 16)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (["quary"], r"'quary' means nothing in this model; its maps are down, key, out, qkv, query, up, value"),
        (["qkv", "query"], "is meant as a whole and by parts"),
    ],
)
def test_targets_without_meaning_or_with_two_are_told(targets, words):
    model = core()
    with pytest.raises(ValueError, match=words):
        apply_lora(model, LoRA(targets=targets))
    assert not is_adapted(model) and all(parameter.requires_grad for parameter in model.parameters())


def test_a_second_adapter_a_shared_weight_and_a_merge_without_adapter_are_told():
    model = adapted()
    with pytest.raises(ValueError, match="adapted already"):
        apply_lora(model)
    with pytest.raises(ValueError, match="not merged"):
        unmerge(model)
    merge(model)
    with pytest.raises(ValueError, match="merged already"):
        merge(model)
    with pytest.raises(ValueError, match="no adapter"):
        merge(core())
    tied = nn.ModuleDict({"table": nn.Embedding(9, 8), "ids": nn.Linear(8, 9, bias=False)})
    tied["ids"].weight = tied["table"].weight
    with pytest.raises(ValueError, match=r"table\.weight and ids\.weight are one weight"):
        apply_lora(tied, LoRA(targets=["ids"]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rank": 0}, "rank=0"),
        ({"alpha": -1.0}, "alpha=-1.0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"targets": []}, "targets="),
        ({"targets": "query"}, "must be a list"),
        ({"init": "zeros"}, "init='zeros' is unknown"),
    ],
)
def test_options_out_of_range_are_told(options, words):
    with pytest.raises(ValueError, match=words):
        LoRA(**options)


def test_a_model_with_an_adapter_is_not_written_as_if_it_had_none(tmp_path):
    model = OmniFormer(
        core=Transformer(d_model=8, n_layers=1, n_heads=2),
        embedders={"text": IdEmbedder(d_model=8, vocab_size=9)},
        heads={},
    )
    apply_lora(model)
    predictor = Predictor(model, {})
    message = r"adapter beside its weights: add it to them with omniformer.adapters.merge\(model\) and remove\(model\)"
    with pytest.raises(ValueError, match=message):
        save(tmp_path / "ours", predictor, recipe={})
    with pytest.raises(ValueError, match=message):
        save_pretrained(model, tmp_path / "theirs", {})
    assert not list(tmp_path.iterdir())
    merge(model)
    remove(model)
    refuse_adapted(model)
