from functools import partial

import pytest
import torch

from omniformer.core.graph_biases import EdgeBias, ShortestPath
from omniformer.core.layout import Layout
from omniformer.core.registers import Registers
from omniformer.core.rotary import Rotary
from omniformer.core.rules import (
    BlockWindow,
    Causal,
    Full,
    Modalities,
    Neighbours,
    Prefix,
    Self,
    Window,
    bigbird,
    mistral,
)
from omniformer.core.transformer import Transformer


def build(n_registers=2, **parts):
    torch.manual_seed(0)
    core = Registers(
        core=Transformer(**{"d_model": 8, "n_layers": 2, "n_heads": 2, "init_std": 0.3, **parts}),
        n_registers=n_registers,
    )
    torch.nn.init.normal_(core.tokens)
    return core.eval()


def test_registers_are_tokens_in_front_of_every_sample_taken_off_again():
    core, lengths = build(), (3, 0, 4)
    x = torch.randn(7, 8)
    out = core(x, Layout.from_lengths(*lengths))
    by_hand = [
        core.core(torch.cat([core.tokens, part]), Layout.from_lengths(2 + len(part)))[2:] for part in x.split(lengths)
    ]
    torch.testing.assert_close(out, torch.cat(by_hand), rtol=1e-5, atol=1e-5)


def reads(core, x, layout, rule):
    """Which token's output depends on which token, through one layer."""
    x = x.clone().requires_grad_()
    out = core(x, layout, rule)
    return torch.stack([torch.autograd.grad(row[0], x, retain_graph=True)[0].abs().sum(-1) > 0 for row in out])


def test_the_rule_goes_on_to_hold_between_tokens():
    # What passes through a register takes two layers.
    core = build(n_layers=1)
    layout = Layout.from_lengths(5, 3)
    rule = Window(left=1, right=1)
    assert torch.equal(reads(core, torch.randn(8, 8), layout, rule), rule.mask(layout))


def test_on_graphs_a_register_is_a_virtual_node_that_joins_everything_in_two_layers():
    layout = Layout(lengths=torch.tensor([4, 2]), edges=torch.tensor([[0, 1], [1, 0]]))
    core, x = build(), torch.randn(6, 8)
    same_sample = layout.sample[:, None] == layout.sample[None, :]
    assert torch.equal(reads(core, x, layout, Neighbours()), same_sample)


def test_coordinates_edges_and_facts_move_with_their_tokens():
    edges = torch.tensor([[0, 1, 4, 2], [1, 2, 3, 2]])
    layout = Layout(
        lengths=torch.tensor([3, 2]),
        positions=torch.rand(5, 2) * 5,
        edges=edges,
        edge_features=torch.rand(4, 1),
        modality=torch.tensor([0, 1, 0, 1, 1]),
    )
    for parts in (
        {"rotary": partial(Rotary, n_axes=2)},
        {"pair_bias": partial(EdgeBias, edge_features=1)},
        {"pair_bias": ShortestPath},
    ):
        core, x, order = build(**parts), torch.randn(5, 8), torch.tensor([3, 4, 0, 1, 2])
        rule = Full() if "pair_bias" in parts else Modalities([[0, 1], [0, 1]])
        place = order.argsort()
        swapped = Layout(
            lengths=torch.tensor([2, 3]),
            positions=layout.positions[order],
            edges=place[edges],
            edge_features=layout.edge_features,
            modality=layout.modality[order],
        )
        torch.testing.assert_close(core(x, layout, rule)[order], core(x[order], swapped, rule), rtol=1e-5, atol=1e-5)


def test_registers_learn():
    core = build()
    core(torch.randn(5, 8), Layout.from_lengths(3, 2)).square().sum().backward()
    assert core.tokens.grad.abs().sum() > 0


def test_what_registers_cannot_do_is_told():
    core, x = build(), torch.zeros(3, 8)
    with pytest.raises(ValueError, match="n_registers=0"):
        build(n_registers=0)
    with pytest.raises(ValueError, match=r"Causal\(\) hides tokens"):
        core(x, Layout.from_lengths(3), Causal())
    with pytest.raises(ValueError, match="without Registers"):
        core(x, Layout(lengths=torch.tensor([3]), start=torch.tensor([2])))
    with pytest.raises(ValueError, match=r"values of pairs \(distance\)"):
        core(x, Layout(lengths=torch.tensor([3]), pairs={"distance": torch.zeros(9)}))


@pytest.mark.parametrize(
    "rule",
    [
        ~(~Causal()),
        ~Causal(),
        ~(~Causal() | ~Causal()),
        Causal() | Prefix(),
        Window(left=3, right=0),
        BlockWindow(size=2, right=0),
        mistral(window=2, sinks=1),
        Modalities([[0], [0, 1]]),
        Modalities([[0], [0, 1]]) & Window(left=1, right=1),
        ~Modalities([[0], [1]]),
    ],
    ids=str,
)
def test_a_rule_that_hides_tokens_is_refused_however_it_is_written(rule):
    layout = Layout(lengths=torch.tensor([4]), prefix=torch.tensor([1]), modality=torch.tensor([0, 0, 1, 1]))
    with pytest.raises(ValueError, match="hides tokens, which registers would hand on"):
        build()(torch.randn(4, 8), layout, rule)


@pytest.mark.parametrize(
    "rule",
    [Full(), Self(), Neighbours() | Self(), Window(left=1, right=1), Modalities([[0, 1], [1, 0]]), bigbird(size=2)],
    ids=str,
)
def test_a_rule_that_only_spares_work_is_not(rule):
    layout = Layout(
        lengths=torch.tensor([4]), modality=torch.tensor([0, 0, 1, 1]), edges=torch.tensor([[0, 1], [1, 2]])
    )
    assert build()(torch.randn(4, 8), layout, rule).shape == (4, 8)
