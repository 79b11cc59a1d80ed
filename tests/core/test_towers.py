import pytest
import torch

from omniformer.core.core import kinds
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Window
from omniformer.core.towers import Towers
from omniformer.core.transformer import Transformer


def build(**parts):
    torch.manual_seed(0)
    sizes = [(8, 2), (12, 1), (8, 1)]
    return Towers(
        towers=[Transformer(d_model=width, n_layers=depth, n_heads=2, init_std=0.3) for width, depth in sizes], **parts
    ).eval()


def layout(number, *lengths):
    n = sum(lengths)
    return Layout(lengths=torch.tensor(lengths), modality=torch.full((n,), number), positions=torch.zeros(n, 1))


@pytest.mark.parametrize(("number", "width"), [(0, 8), (1, 12), (2, 8)])
def test_tokens_of_a_modality_go_through_its_tower_alone(number, width):
    towers, x = build(), torch.randn(5, width)
    expected = towers.towers[number](x, Layout.from_lengths(2, 0, 3))
    assert torch.equal(towers(x, layout(number, 2, 0, 3)), expected)


def test_all_towers_read_tokens_of_their_own_at_once():
    towers = build(rules=[Full(), Causal(), Full()])
    tokens = [(torch.randn(4, width), layout(number, 3, 1)) for number, width in enumerate((8, 12, 8))]
    assert [each.d_model for each in kinds(towers)] == [8, 12, 8]
    for found, (x, own) in zip(towers.together(tokens), tokens, strict=True):
        torch.testing.assert_close(found, towers(x, own))


@pytest.mark.parametrize(
    ("own", "given", "together"),
    [
        (Causal(), None, Causal()),
        (Causal(), Full(), Causal()),
        (Full(), Causal(), Causal()),
        (Causal(), Window(left=1, right=1), Causal() & Window(left=1, right=1)),
    ],
    ids=["own", "own beside all", "given", "both"],
)
def test_a_token_reads_what_both_rules_allow(own, given, together):
    towers, x = build(rules=[own, Full(), Full()]), torch.randn(5, 8)
    expected = towers.towers[0](x, Layout.from_lengths(5), together)
    torch.testing.assert_close(towers(x, layout(0, 5), given), expected)


def test_stages_are_those_of_the_tower():
    towers, stages = build(), {}
    towers(torch.randn(3, 8), layout(0, 3), stages=stages)
    assert set(stages) == {"blocks.0", "blocks.1"}


def test_no_token_gives_every_weight_a_gradient_of_zero():
    towers = build()
    out = towers(torch.zeros(0, 8, requires_grad=True), Layout.from_lengths(0, 0))
    out.sum().backward()
    assert out.shape == (0, 8)
    assert all(weight.grad is not None and not weight.grad.any() for weight in towers.parameters())


@pytest.mark.parametrize(
    ("modality", "message"),
    [
        (None, "states no modality, which chooses one of 3 towers"),
        ([0, 1, 1], r"modalities 0 to 1: each tower reads one .*batch.select\(modality\)"),
        ([3, 3, 3], "tokens of modality 3; this core has towers 0 to 2"),
        ([-1, -1, -1], "tokens of modality -1"),
    ],
)
def test_a_batch_that_belongs_to_no_one_tower_is_told(modality, message):
    modality = None if modality is None else torch.tensor(modality)
    with pytest.raises(ValueError, match=message):
        build()(torch.randn(3, 8), Layout(lengths=torch.tensor([3]), modality=modality))


def test_impossible_towers_are_refused():
    one = Transformer(d_model=8, n_layers=1, n_heads=2)
    with pytest.raises(ValueError, match="1 towers: give one for each of two"):
        Towers(towers=[one])
    with pytest.raises(ValueError, match="1 rules for 3 towers"):
        build(rules=[Full()])
