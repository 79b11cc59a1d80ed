from functools import partial

import pytest
import torch

from omniformer.config import build as build_node
from omniformer.config.errors import ConfigError
from omniformer.config.validate import validate_node
from omniformer.core.attention.multihead import Context, SelfAttention
from omniformer.core.attention.plan import lower
from omniformer.core.cache import KVCache, SlidingCache
from omniformer.core.connection import SandwichNorm
from omniformer.core.feedforward import FeedForward, GatedFeedForward
from omniformer.core.layer_kinds import LayerKind, repeated
from omniformer.core.layout import Layout
from omniformer.core.norm import LayerNorm, RMSNorm
from omniformer.core.padded import PaddedLayout
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Window
from omniformer.core.transformer import Transformer
from omniformer.core.variants.reversible import ReversibleTransformer
from omniformer.inspection.maps import attention_maps

SIZES = {"d_model": 16, "n_layers": 5, "n_heads": 4}
NEAR = LayerKind(rule=Window(left=2), rotary=partial(Rotary, base=10.0))
FAR = LayerKind(rotary=partial(Rotary, base=1000.0))
MIXED = {"pattern": ["near", "near", "far"], "kinds": {"near": NEAR, "far": FAR}}
LAYOUT = Layout.from_lengths(7, 0, 4)


def build(kind=Transformer, **parts):
    torch.manual_seed(0)
    return kind(**SIZES, init_std=0.3, **parts).eval()


def test_each_layer_reads_the_rule_and_the_positions_of_its_kind():
    core, x = build(**MIXED), torch.randn(11, 16)
    expected = x
    for layer, (name, block) in enumerate(zip("nnfnn", core.blocks, strict=True)):
        rule, base = (Causal() & Window(left=2), 10.0) if name == "n" else (Causal(), 1000.0)
        rotation = Rotary(head_dim=4, base=base)(LAYOUT)
        expected = block(expected, Context(plan=lower(rule, LAYOUT), rotation=rotation, layer=layer))
    assert torch.equal(core(x, LAYOUT, Causal()), core.norm(expected))


def test_a_plan_lowered_before_is_narrowed_too():
    core, x = build(**MIXED), torch.randn(11, 16)
    assert torch.equal(core(x, LAYOUT, plan=lower(Causal(), LAYOUT)), core(x, LAYOUT, Causal()))


def test_layers_of_one_kind_that_says_nothing_are_the_uniform_stack():
    x, plain = torch.randn(11, 16), build(rotary=Rotary)
    core = build(rotary=Rotary, kinds={"all": LayerKind()})
    assert core.state_dict().keys() == plain.state_dict().keys()
    assert torch.equal(core(x, LAYOUT, Causal()), plain(x, LAYOUT, Causal()))


def test_a_kind_without_rotary_positions_does_not_see_the_order_of_tokens():
    blind = {"pattern": ["blind"], "kinds": {"blind": LayerKind(rotary=None)}}
    turned = {"pattern": ["blind", "seeing"], "kinds": {"blind": LayerKind(rotary=None), "seeing": FAR}}
    x, order = torch.randn(4, 16), torch.tensor([3, 0, 2, 1])
    layout = Layout.from_lengths(4)
    core = build(**blind)
    torch.testing.assert_close(core(x, layout)[order], core(x[order], layout), rtol=1e-5, atol=1e-6)
    core = build(**turned)
    assert (core(x, layout)[order] - core(x[order], layout)).abs().max() > 0.01


def test_plans_and_rotations_are_made_once_for_a_kind(monkeypatch):
    made = []
    monkeypatch.setattr(
        "omniformer.core.transformer.lower", lambda *given, **how: made.append(1) or lower(*given, **how)
    )
    core, turned = build(**MIXED), []
    for rotary in core.own_rotary:
        rotary.register_forward_hook(lambda *_: turned.append(1))
    core(torch.randn(11, 16), LAYOUT, Causal())
    assert (len(made), len(turned)) == (2, 2)


def test_a_kind_may_have_any_part_of_its_own():
    own = LayerKind(
        attention=partial(SelfAttention, head_dim=6),
        feedforward=GatedFeedForward,
        norm=RMSNorm,
        connection=SandwichNorm,
    )
    core = build(pattern=["plain", "own"], kinds={"plain": LayerKind(), "own": own})
    plain, other = core.blocks[2], core.blocks[3]
    assert isinstance(plain.attention.norm, LayerNorm)
    assert isinstance(plain.feedforward.branch, FeedForward)
    assert isinstance(other.attention, SandwichNorm)
    assert isinstance(other.attention.norm, RMSNorm)
    assert isinstance(other.feedforward.branch, GatedFeedForward)
    assert (plain.attention.branch.head_dim, other.attention.branch.head_dim) == (4, 6)


def test_kinds_with_heads_of_other_widths_turn_by_rotary_positions_of_their_own():
    wide = LayerKind(attention=partial(SelfAttention, head_dim=6), rotary=Rotary)
    core = build(rotary=Rotary, pattern=["plain", "wide"], kinds={"plain": LayerKind(), "wide": wide})
    assert core(torch.randn(11, 16), LAYOUT).shape == (11, 16)
    shared = {"plain": LayerKind(), "wide": LayerKind(attention=partial(SelfAttention, head_dim=6))}
    with pytest.raises(ValueError, match=r"heads of \[4, 6\] features"):
        build(rotary=Rotary, pattern=["plain", "wide"], kinds=shared)


@pytest.mark.parametrize("checkpoint", [False, True])
def test_every_weight_learns(checkpoint):
    core = build(**MIXED, checkpoint_blocks=checkpoint).train()
    core(torch.randn(11, 16), LAYOUT, Causal()).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in core.parameters())


def test_step_by_step_equals_one_pass():
    core, x = build(**MIXED), torch.randn(11, 16)
    cache, found = KVCache(n_layers=5, n_samples=2), []
    with torch.no_grad():
        for step in ((3, 1), (1, 1), (3, 2)):
            layout, _ = cache.extend(torch.tensor(step))
            starts = (cache.lengths - torch.tensor(step)).tolist()
            rows = [x[:7][starts[0] : starts[0] + step[0]], x[7:][starts[1] : starts[1] + step[1]]]
            found.append(core(torch.cat(rows), layout, Causal(), cache=cache).split(list(step)))
        whole = core(x, Layout.from_lengths(7, 4), Causal())
    stepped = torch.cat([torch.cat(rows) for rows in zip(*found, strict=True)])
    torch.testing.assert_close(stepped, whole, rtol=1e-5, atol=1e-5)


def test_a_cache_that_forgets_refuses_the_layers_that_look_further():
    core, cache = build(**MIXED), SlidingCache(n_layers=5, n_samples=1, window=3)
    layout, _ = cache.extend(torch.tensor([2]))
    with pytest.raises(ValueError, match="looks any number of tokens back"):
        core(torch.randn(2, 16), layout, Causal(), cache=cache)


def test_padded_rows_say_the_same():
    core, valid = build(**MIXED), torch.arange(7) < torch.tensor([[7], [4]])
    x, layout = torch.randn(2, 7, 16), PaddedLayout(valid=valid)
    packed = Layout.from_lengths(7, 4).pad(core(x[valid], Layout.from_lengths(7, 4), Causal()))
    torch.testing.assert_close(layout.pad(core(x.flatten(0, 1), layout, Causal())), packed, rtol=1e-5, atol=1e-5)


def test_a_reversible_stack_has_kinds_too():
    core, x = build(ReversibleTransformer, **MIXED).train(), torch.randn(11, 16)
    plain = core(x, LAYOUT, Causal(), stages={})
    torch.testing.assert_close(core(x, LAYOUT, Causal()), plain, rtol=1e-5, atol=1e-5)


def test_attention_maps_show_the_window_of_the_layers_that_have_one():
    maps = attention_maps(build(**MIXED), torch.randn(11, 16), LAYOUT, Causal())
    seen = [[(weights > 0).sum(-1).max().item() for weights in samples[:1]] for samples in maps]
    assert seen == [[3], [3], [7], [3], [3]]


@pytest.mark.parametrize(
    ("pattern", "kinds", "message"),
    [
        (["near", "fra"], {"near": NEAR, "far": FAR}, "names 'fra', which is not among the kinds"),
        (["near"], {"near": NEAR, "far": FAR}, "no layer of n_layers=5 is of kind 'far'"),
        ([], {"near": NEAR, "far": FAR}, "say the kinds in the order of the layers"),
        (None, {"near": NEAR, "far": FAR}, "say the kinds in the order of the layers"),
        (["near"], None, "pattern=.* needs kinds="),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused(pattern, kinds, message):
    with pytest.raises(ValueError, match=message):
        build(pattern=pattern, kinds=kinds)


def test_rotary_positions_that_no_layer_uses_are_refused():
    with pytest.raises(ValueError, match="no kind of layer uses rotary="):
        build(rotary=Rotary, **MIXED)


def test_a_pattern_is_repeated_and_cut():
    assert repeated(["a", "b"], {"a": NEAR, "b": FAR}, 5) == ("a", "b", "a", "b", "a")


def test_the_rule_of_a_call_that_gives_none_is_narrowed_as_well():
    core = Transformer(**SIZES | {"n_layers": 1}, kinds={"near": LayerKind(rule=Window(left=1, right=1))})
    x = torch.randn(6, 16, requires_grad=True)
    reads = torch.autograd.grad(core(x, Layout.from_lengths(6))[0, 0], x)[0].abs().sum(-1) > 0
    assert reads.tolist() == [True, True, False, False, False, False]


def test_a_configuration_says_kinds_by_name_and_its_mistakes_are_told():
    near = {
        "_target_": "omniformer.core.layer_kinds.LayerKind",
        "rule": {"_target_": "omniformer.core.rules.Window", "left": 2},
        "rotary": {"_target_": "omniformer.core.rotary.Rotary", "_partial_": True, "base": 10.0},
    }
    far = {"_target_": "omniformer.core.layer_kinds.LayerKind", "rotary": None}
    node = {"_target_": "omniformer.core.transformer.Transformer", **SIZES, "pattern": ["near", "far"]}
    node["kinds"] = {"near": near, "far": far}
    validate_node(node, "core")
    core = build_node(node, "core")
    assert core.kind_of_layer == ("near", "far", "near", "far", "near")
    assert core.layer_kinds["near"].rule == Window(left=2)
    with pytest.raises(ConfigError, match=r"core.kinds.near.rulee: unknown key .* did you mean core.kinds.near.rule\?"):
        validate_node(node | {"kinds": {"near": near | {"rulee": None}, "far": far}}, "core")
    with pytest.raises(ConfigError, match=r"core.kinds.far.rotary: received 'stak'"):
        validate_node(node | {"kinds": {"near": near, "far": far | {"rotary": "stak"}}}, "core")
