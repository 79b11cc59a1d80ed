import math

import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.core.registers import Registers
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Full, Neighbours
from omniformer.core.towers import Towers
from omniformer.core.transformer import Transformer
from omniformer.core.variants.linear import LinearAttention
from omniformer.inspection.maps import (
    attending,
    attention_maps,
    collapsed_heads,
    entropy,
    head_effects,
    modality_flow,
    rollout,
)

LAYOUT = Layout.from_lengths(4, 0, 6)


def core(**options):
    torch.manual_seed(0)
    return Transformer(d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, rotary=Rotary, init_std=0.5, **options).eval()


@pytest.mark.parametrize("rule", [Full(), Causal()])
def test_maps_are_the_weights_that_the_layers_used(rule):
    model = core()
    x = torch.randn(10, 16)
    maps = attention_maps(model, x, LAYOUT, rule)
    stages = {}
    model(x, LAYOUT, rule, stages=stages)
    # The second layer's output, from its map and its own values.
    inside = model.blocks[1].attention
    after_first = inside.norm(stages["blocks.0"])
    v = inside.branch.qkv(after_first).unflatten(1, (8, 4))[:, 6:].repeat_interleave(2, dim=1)
    mixed = torch.cat(
        [
            torch.einsum("hqk,khd->qhd", weights, values)
            for weights, values in zip(maps[1], v.split([4, 0, 6]), strict=True)
        ]
    )
    x1 = stages["blocks.0"] + inside.branch.out(mixed.flatten(1))
    feedforward = model.blocks[1].feedforward
    x2 = x1 + feedforward.branch(feedforward.norm(x1))
    torch.testing.assert_close(x2, stages["blocks.1"], rtol=1e-4, atol=1e-4)


def test_running_for_maps_does_not_change_the_output():
    model = core()
    x = torch.randn(10, 16)
    seen = []
    model.norm.register_forward_hook(lambda module, inputs, output: seen.append(output))
    attention_maps(model, x, LAYOUT, Causal())
    assert torch.equal(seen[0], model(x, LAYOUT, Causal()))


def test_entropy_is_zero_for_one_key_and_log_n_for_an_even_look():
    one = torch.eye(5).expand(2, 5, 5)
    even = torch.full((2, 5, 5), 0.2)
    empty = torch.zeros(2, 3, 3)  # rows that may attend to nothing are left out
    found = entropy([[one, empty], [even, empty]])
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.0], [math.log(5)] * 2]))
    assert collapsed_heads([[one, empty], [even, empty]]) == [(0, 0), (0, 1)]


def test_rollout_is_the_product_of_half_attention_and_half_residual():
    maps = attention_maps(core(), torch.randn(10, 16), LAYOUT, Causal())
    found = rollout(maps)
    for sample, n in ((0, 4), (2, 6)):
        expected = torch.eye(n)
        for layer in maps:
            expected = (0.5 * layer[sample].mean(0) + 0.5 * torch.eye(n)) @ expected
        torch.testing.assert_close(found[sample], expected)
        torch.testing.assert_close(found[sample].sum(1), torch.ones(n))
    assert found[1].shape == (0, 0)


def test_flow_between_modalities_counts_where_weights_go():
    layout = Layout(lengths=torch.tensor([3, 2]), modality=torch.tensor([0, 0, 1, 1, 1]))
    first = torch.tensor([[[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.25, 0.25, 0.5]]])
    second = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    found = modality_flow([[first, second]], layout, 2)
    torch.testing.assert_close(found[0], torch.tensor([[1.5 / 2, 0.5 / 2], [0.5 / 3, 2.5 / 3]]))
    with pytest.raises(ValueError, match="the layout has no modality"):
        modality_flow([[first, second]], LAYOUT, 2)


def test_graphs_have_maps_with_weights_on_edges_alone():
    edges = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 3]])
    layout = Layout(lengths=torch.tensor([4]), edges=edges)
    (weights,), _ = attention_maps(core(), torch.randn(4, 16), layout, Neighbours())
    allowed = Neighbours().mask(layout)
    assert torch.equal(weights > 0, allowed.expand(4, 4, 4))


def test_a_core_without_weights_is_refused():
    model = Transformer(d_model=16, n_layers=1, n_heads=2, attention=LinearAttention)
    with pytest.raises(ValueError, match="Transformer computed no attention weights"):
        attention_maps(model, torch.randn(10, 16), LAYOUT)


def test_a_head_does_what_is_missing_without_its_columns_of_the_output_map():
    model, x = core(), torch.randn(10, 16)
    model.blocks[1].attention.branch.out.weight.data[:, 4:8] = 0  # what the second head of the second layer collected
    layers = attending(model)
    maps = attention_maps(model, x, LAYOUT, Causal())
    found = head_effects(lambda: model(x, LAYOUT, Causal()), layers, maps)
    assert found.shape == (2, 4) and found[1, 1] == 0 and (found.flatten()[[0, 1, 2, 3, 4, 6, 7]] > 1e-3).all()
    whole = model(x, LAYOUT, Causal())
    model.blocks[0].attention.branch.out.weight.data[:, 8:12] = 0
    torch.testing.assert_close(found[0, 2], (model(x, LAYOUT, Causal()) - whole).norm() / whole.norm())


def test_layers_with_fewer_heads_than_others_have_no_number_for_the_rest():
    found = entropy([[torch.full((2, 4, 4), 0.25)], [torch.full((1, 4, 4), 0.25)]])
    torch.testing.assert_close(found, torch.tensor([[math.log(4)] * 2, [math.log(4), math.nan]]), equal_nan=True)
    assert collapsed_heads([[torch.eye(3)[None]], [torch.eye(3).expand(2, 3, 3)]]) == [(0, 0), (1, 0), (1, 1)]


def test_towers_and_registers_are_looked_into_as_what_they_are_made_of():
    towers = Towers(towers=[core(), core()])
    layout = Layout(lengths=torch.tensor([4, 6]), modality=torch.ones(10, dtype=torch.long))
    maps = attention_maps(towers, torch.randn(10, 16), layout)
    assert [tuple(weights.shape) for weights in maps[0]] == [(4, 4, 4), (4, 6, 6)] and len(maps) == 2
    maps = attention_maps(Registers(core=core(), n_registers=2), torch.randn(10, 16), LAYOUT)
    assert [tuple(weights.shape) for weights in maps[0]] == [(4, 6, 6), (4, 2, 2), (4, 8, 8)]
