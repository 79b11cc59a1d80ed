"""Which parameters are decayed, which are hidden matrices, how deep they lie."""

import pytest
import torch
from torch import nn

from omniformer.training.parameter_groups import check_patterns, describe, groups


class Positions(nn.Module):
    no_weight_decay = ("waves",)

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(7, 4))
        self.waves = nn.Parameter(torch.zeros(7, 4))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm([2, 4])
        self.mix = nn.Linear(4, 4)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedders = nn.ModuleDict({"text": nn.Embedding(9, 4), "image": nn.Linear(6, 4)})
        self.positions = Positions()
        self.class_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.blocks = nn.ModuleList([Block(), Block(), Block()])
        self.conv = nn.Conv1d(4, 4, 3)
        self.heads = nn.ModuleDict({"text": nn.Linear(4, 9)})
        self.frozen = nn.Parameter(torch.zeros(4, 4), requires_grad=False)


def test_only_matrices_that_multiply_are_decayed():
    decayed = {item.name for item in describe(Model()) if item.decayed}
    blocks = {f"blocks.{i}.mix.weight" for i in range(3)}
    assert decayed == blocks | {"embedders.image.weight", "conv.weight", "heads.text.weight"}


def test_hidden_are_two_dimensional_matrices_outside_the_named_modules():
    hidden = {item.name for item in describe(Model(), outside=["embedders", "heads"]) if item.hidden}
    assert hidden == {f"blocks.{i}.mix.weight" for i in range(3)}


def test_depth_counts_blocks_from_the_embedders_to_the_head():
    depths = {item.name: item.depth for item in describe(Model())}
    assert depths["embedders.text.weight"] == depths["positions.table"] == 0
    assert [depths[f"blocks.{i}.mix.weight"] for i in range(3)] == [1, 2, 3]
    assert depths["heads.text.bias"] == depths["conv.weight"] == 4


def test_every_trainable_parameter_is_in_exactly_one_group():
    model = Model()
    made = groups(describe(model), lr=1.0, weight_decay=0.1, layer_decay=0.5)
    listed = [id(parameter) for group in made for parameter in group["params"]]
    assert sorted(listed) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert {(group["lr"], group["weight_decay"]) for group in made} == {
        (rate, decay) for rate in (0.5**4, 0.5**3, 0.5**2, 0.5, 1.0) for decay in (0.0, 0.1)
    }


def test_matrix_tied_to_an_embedding_is_listed_once_and_not_decayed():
    model = nn.ModuleDict({"embedder": nn.Embedding(9, 4), "head": nn.Linear(4, 9, bias=False)})
    model["head"].weight = model["embedder"].weight
    (item,) = describe(model)
    assert not item.decayed


def test_model_without_parameters_is_told():
    with pytest.raises(ValueError, match="Identity has no parameter"):
        describe(nn.Identity())


def stacks(**n_layers):
    """Stacks of several heights beside each other, as in a model that is trained."""
    named = {name: nn.ModuleDict({"blocks": nn.ModuleList(Block() for _ in range(n))}) for name, n in n_layers.items()}
    return nn.ModuleDict({"model": nn.ModuleDict({"core": nn.ModuleDict(named), "heads": nn.Linear(4, 2)})})


@pytest.mark.parametrize(("low", "high"), [("encoder", "decoder"), ("towers_0", "towers_1")])
def test_the_last_blocks_of_all_stacks_are_equally_deep(low, high):
    depths = {item.name: item.depth for item in describe(stacks(**{low: 2, high: 5}))}
    assert [depths[f"model.core.{low}.blocks.{i}.mix.weight"] for i in range(2)] == [4, 5]
    assert [depths[f"model.core.{high}.blocks.{i}.mix.weight"] for i in range(5)] == [1, 2, 3, 4, 5]
    assert depths["model.heads.weight"] == 6


def test_depth_is_found_in_an_encoder_and_a_decoder_of_ours():
    from functools import partial

    from omniformer.core.block import CrossBlock
    from omniformer.core.encoder_decoder import EncoderDecoder
    from omniformer.core.transformer import Transformer
    from omniformer.embedders import IdEmbedder

    sizes = {"d_model": 8, "n_heads": 2}
    core = EncoderDecoder(
        encoder=Transformer(n_layers=1, **sizes), decoder=Transformer(n_layers=3, **sizes, block=partial(CrossBlock))
    )
    embedders = nn.ModuleDict({"text": IdEmbedder(d_model=8, vocab_size=5)})
    depths = {item.name: item.depth for item in describe(nn.ModuleDict({"core": core, "embedders": embedders}))}
    assert depths["embedders.text.table.weight"] == 0
    assert {d for name, d in depths.items() if name.startswith("core.encoder.blocks.0.")} == {3}
    assert {d for name, d in depths.items() if name.startswith("core.decoder.blocks.0.")} == {1}
    assert {d for name, d in depths.items() if name.startswith("core.decoder.blocks.2.cross.")} == {3}


def test_rates_by_pattern_take_the_place_of_the_rate_and_decay_with_depth():
    described = describe(stacks(encoder=2))
    rates = {"core.*": 0.1, "core.encoder.blocks.0.*": 0.01}
    made = groups(described, lr=1.0, weight_decay=0.0, layer_decay=0.5, lr_of=rates)
    by_id = {id(parameter): group["lr"] for group in made for parameter in group["params"]}
    found = {item.name: by_id[id(item.parameter)] for item in described}
    assert found["model.heads.weight"] == 1.0
    assert found["model.core.encoder.blocks.1.mix.weight"] == pytest.approx(0.1 * 0.5)
    assert found["model.core.encoder.blocks.0.mix.weight"] == pytest.approx(0.01 * 0.25)


@pytest.mark.parametrize(
    ("rates", "words"),
    [({"cor.*": 0.1}, "'cor.\\*' fits no parameter that is trained"), ({"core.*": 0.0}, "must be above 0")],
)
def test_rates_that_would_be_nobodys_are_told(rates, words):
    with pytest.raises(ValueError, match=words):
        check_patterns(describe(stacks(encoder=1)), rates)
