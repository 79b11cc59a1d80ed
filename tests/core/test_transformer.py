from collections import Counter
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from omniformer.core.attention.cross import CrossAttention
from omniformer.core.attention.multihead import Context, SelfAttention
from omniformer.core.attention.plan import lower
from omniformer.core.biases import ALiBi, T5Buckets
from omniformer.core.block import CrossBlock, GatedCrossBlock, ParallelBlock
from omniformer.core.connection import AdaptiveNorm, LayerScale, PostNorm, SandwichNorm
from omniformer.core.feedforward import GatedFeedForward
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.moe import MixtureOfExperts
from omniformer.core.norm import RMSNorm
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Full, Prefix, Window
from omniformer.core.transformer import Transformer
from omniformer.core.variants.linear import LinearAttention
from omniformer.core.variants.reformer import ReformerAttention
from omniformer.core.variants.value_residual import ValueResidualAttention

SIZES = {"d_model": 16, "n_layers": 2, "n_heads": 4}
KINDS = {
    "plain": {},
    "llama": {
        "norm": RMSNorm,
        "feedforward": GatedFeedForward,
        "rotary": Rotary,
        "n_kv_heads": 2,
        "attention": partial(SelfAttention, bias=False, qk_norm=RMSNorm),
    },
    "post-norm": {"connection": PostNorm, "final_norm": False},
    "sandwich": {"connection": SandwichNorm},
    "layer scale": {"connection": LayerScale},
    "parallel": {"block": ParallelBlock},
    "alibi": {"pair_bias": ALiBi},
    "shared bias": {"pair_bias": T5Buckets},
    "bias of each layer's own": {"attention": partial(SelfAttention, pair_bias=T5Buckets)},
    "value residual": {"attention": ValueResidualAttention},
    "experts": {"feedforward": partial(MixtureOfExperts, n_experts=4)},
}
# With experts a token's product may be computed in a larger or smaller group of rows, which rounds differently.
EXACT = {kind: parts for kind, parts in KINDS.items() if kind != "experts"}


def build(**parts):
    torch.manual_seed(0)
    core = Transformer(**{**SIZES, **parts}).eval()
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return core


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", [Full(), Causal(), Causal() & Window(left=2)])
def test_packed_samples_equal_each_sample_alone(kind, rule):
    core, lengths = build(**KINDS[kind]), (3, 0, 6, 1)
    x = torch.randn(10, 16)
    packed = core(x, Layout.from_lengths(*lengths), rule)
    alone = [core(part, Layout.from_lengths(len(part)), rule) for part in x.split(lengths)]
    torch.testing.assert_close(packed, torch.cat(alone), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("rule", [Full(), Causal()])
def test_a_change_in_one_sample_changes_no_bit_of_another(kind, rule):
    core, layout = build(**KINDS[kind]), Layout.from_lengths(4, 3, 5)
    x = torch.randn(12, 16)
    changed = x.clone()
    changed[4:7] = torch.nan
    before, after = core(x, layout, rule), core(changed, layout, rule)
    kept = layout.sample != 1
    assert torch.equal(before[kept], after[kept])
    assert after[~kept].isnan().all()


@pytest.mark.parametrize("kind", EXACT)
def test_under_a_causal_rule_a_change_changes_no_bit_before_it(kind):
    core, layout = build(**KINDS[kind]), Layout.from_lengths(8)
    x = torch.randn(8, 16)
    changed = x.clone()
    changed[5] += 1.0
    before, after = core(x, layout, Causal()), core(changed, layout, Causal())
    assert torch.equal(before[:5], after[:5])
    assert not torch.equal(before[5:], after[5:])


def test_without_positions_the_order_of_tokens_changes_nothing_but_their_order():
    core, layout, order = build(), Layout.from_lengths(6), torch.tensor([3, 0, 5, 1, 4, 2])
    x = torch.randn(6, 16)
    torch.testing.assert_close(core(x, layout)[order], core(x[order], layout), rtol=1e-5, atol=1e-6)


def test_prefix_language_model_reads_its_prefix_both_ways_and_the_rest_causally():
    core, layout = build(), Layout(lengths=torch.tensor([6]), prefix=torch.tensor([3]))
    x = torch.randn(6, 16, requires_grad=True)
    out = core(x, layout, Causal() | Prefix())
    reads = torch.stack([torch.autograd.grad(row.sum(), x, retain_graph=True)[0].abs().sum(-1) > 0 for row in out])
    expected = torch.ones(6, 6, dtype=torch.bool).tril()
    expected[:3, :3] = True
    assert torch.equal(reads, expected)


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=5), kind=st.sampled_from(sorted(KINDS)))
def test_any_layout_gives_finite_outputs_and_gradients_everywhere(lengths, kind):
    core = build(**KINDS[kind]).train()
    x = torch.randn(sum(lengths), 16, requires_grad=True)
    out = core(x, Layout.from_lengths(*lengths), Causal())
    out.square().sum().backward()
    assert out.isfinite().all()
    assert x.grad.isfinite().all()
    for name, parameter in core.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all()


@pytest.mark.quick(4)
@pytest.mark.parametrize("kind", KINDS)
def test_checkpointed_blocks_give_the_same_outputs_and_gradients(kind):
    layout, x = Layout.from_lengths(5, 2), torch.randn(7, 16)
    results = []
    for checkpoint in (False, True, 2):
        torch.manual_seed(1)
        core = Transformer(**{**SIZES, **KINDS[kind]}, dropout=0.3, stochastic_depth=0.3, checkpoint_blocks=checkpoint)
        losses = {}
        torch.manual_seed(2)
        out = core(x, layout, Causal(), losses=losses)
        (out.square().sum() + sum(losses.values())).backward()
        results.append([out, *(parameter.grad for parameter in core.parameters())])
    # A shared bias is computed once for all layers, or recomputed with each: its gradients add up in another order.
    tolerance = 1e-6 if kind == "shared bias" else 0
    plain, *checkpointed = results
    for each in checkpointed:
        torch.testing.assert_close(each, plain, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("keeps", "products"), [("nothing", 2), ("products", 1)])
def test_what_recomputed_blocks_keep_is_not_computed_again(keeps, products):
    """The map to the hidden features is computed once or twice; its activation is twice, whatever is kept."""

    class Counted(TorchDispatchMode):
        def __init__(self, counts):
            super().__init__()
            self.counts = counts

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.counts[func] += 1
            return func(*args, **(kwargs or {}))

    plain, found = build(n_layers=1).train(), build(n_layers=1, checkpoint_blocks=True, checkpoint_keeps=keeps).train()
    found.load_state_dict(plain.state_dict())
    x, layout = torch.randn(3, 16), Layout.from_lengths(3)
    aten, once = torch.ops.aten, Counter()
    for core, counts in ((plain, once), (found, again := Counter())):
        with Counted(counts):
            core(x, layout).square().sum().backward()
    # Behind the last map of a block nothing needs to be known, so that it is not computed again.
    assert again[aten.addmm.default] == products * (once[aten.addmm.default] - 1) + 1
    assert again[aten.gelu.default] == 2 * once[aten.gelu.default] == 2
    for one, other in zip(plain.parameters(), found.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_what_recomputed_blocks_might_keep_is_named():
    with pytest.raises(ValueError, match="checkpoint_keeps='all'"):
        build(checkpoint_keeps="all")


@pytest.mark.parametrize(("every", "calls"), [(False, [1, 1, 1]), (True, [2, 2, 2]), (2, [2, 1, 2])])
def test_chosen_blocks_are_computed_again_in_the_backward_pass(every, calls):
    core = build(n_layers=3, checkpoint_blocks=every).train()
    counted = [0, 0, 0]
    for i, block in enumerate(core.blocks):
        block.register_forward_pre_hook(lambda module, args, i=i: counted.__setitem__(i, counted[i] + 1))
    core(torch.randn(3, 16), Layout.from_lengths(3)).sum().backward()
    assert counted == calls
    with pytest.raises(ValueError, match="checkpoint_blocks=-1 must be at least 1"):
        build(checkpoint_blocks=-1)


def test_stages_hold_the_output_of_every_block():
    core, layout, stages = build(), Layout.from_lengths(3), {}
    out = core(torch.randn(3, 16), layout, stages=stages)
    assert list(stages) == ["blocks.0", "blocks.1"]
    assert torch.equal(core.norm(stages["blocks.1"]), out)


def test_a_plan_lowered_before_serves_in_place_of_the_rule():
    core, layout, x = build(), Layout.from_lengths(4, 2), torch.randn(6, 16)
    assert torch.equal(core(x, layout, plan=lower(Causal(), layout)), core(x, layout, Causal()))


def test_a_bias_in_the_core_is_shared_and_one_in_the_attention_is_each_layers_own():
    shared = Transformer(**SIZES, pair_bias=T5Buckets)
    own = Transformer(**SIZES, attention=partial(SelfAttention, pair_bias=T5Buckets))
    assert sum("table" in name for name, _ in shared.named_parameters()) == 1
    assert sum("table" in name for name, _ in own.named_parameters()) == 2


def test_a_shared_bias_is_computed_once_for_all_layers():
    core, calls = build(n_layers=4, pair_bias=T5Buckets), []
    core.pair_bias.register_forward_hook(lambda *_: calls.append(1))
    layout, x = Layout.from_lengths(4, 4), torch.randn(8, 16)
    for _ in range(2):
        core(x, layout, Causal()).sum().backward()
    assert len(calls) == 2


def test_shared_and_own_biases_add_up():
    layout, x = Layout.from_lengths(5), torch.randn(5, 16)
    both = build(pair_bias=ALiBi, attention=partial(SelfAttention, pair_bias=ALiBi))
    # Twice the slopes from one bias is the same sum.
    double = build(pair_bias=ALiBi)
    double.load_state_dict(both.state_dict())
    double.pair_bias.slopes.numbers.mul_(2)
    torch.testing.assert_close(both(x, layout), double(x, layout))


def test_stochastic_depth_skips_whole_samples_and_keeps_the_mean():
    core = Transformer(**{**SIZES, "n_layers": 1}, final_norm=False)
    connection = core.blocks[0].attention
    layout = Layout.from_lengths(*[2] * 4000)
    connection.stochastic_depth = 0.25

    torch.manual_seed(0)
    update = connection.dropped(torch.ones(8000, 1), Context(plan=lower(Full(), layout)))
    first, second = update.view(4000, 2).unbind(1)
    assert torch.equal(first, second)
    assert sorted(first.unique().tolist()) == pytest.approx([0.0, 1 / 0.75])
    assert first.mean().item() == pytest.approx(1.0, abs=0.03)


def test_stochastic_depth_grows_linearly_with_depth():
    core = Transformer(d_model=8, n_layers=5, n_heads=2, stochastic_depth=0.4)
    assert [block.attention.stochastic_depth for block in core.blocks] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(("output_init", "expected"), [("depth_scaled", 0.02 / 4), ("same", 0.02), ("zero", 0.0)])
def test_maps_back_onto_the_stream_are_drawn_as_told(output_init, expected):
    torch.manual_seed(0)
    core = Transformer(d_model=128, n_layers=8, n_heads=2, output_init=output_init)
    for block in core.blocks:
        assert block.attention.branch.qkv.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert block.feedforward.branch.down.weight.std().item() == pytest.approx(expected, rel=0.05)
        assert block.attention.branch.out.weight.std().item() == pytest.approx(expected, rel=0.05)


def test_with_zero_output_maps_the_core_begins_as_the_identity():
    core, x = Transformer(**SIZES, output_init="zero", final_norm=False), torch.randn(4, 16)
    assert torch.equal(core(x, Layout.from_lengths(4)), x)


def test_depth_scaled_draws_keep_the_variance_of_the_stream_from_growing_with_depth():
    torch.manual_seed(0)
    x, layout = torch.randn(64, 32), Layout.from_lengths(64)
    variances = []
    for n_layers in (2, 32):
        core = Transformer(d_model=32, n_layers=n_layers, n_heads=4, final_norm=False, init_std=0.2)
        variances.append((core(x, layout) - x).var().item())
    assert variances[1] < 2 * variances[0]


def test_reset_parameters_draws_every_weight_anew():
    core = Transformer(**SIZES, **KINDS["llama"], pair_bias=T5Buckets)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.fill_(7.0)
    core.reset_parameters()
    assert not any((parameter == 7.0).any() for parameter in core.parameters())


def test_core_is_built_on_the_meta_device_without_memory():
    with torch.device("meta"):
        core = Transformer(d_model=12288, n_layers=1, n_heads=96, rotary=Rotary)
    assert {parameter.device.type for parameter in core.parameters()} == {"meta"}


def test_adaptive_norm_is_steered_by_each_samples_own_condition():
    core = build(connection=partial(AdaptiveNorm, d_condition=3))
    layout, x, condition = Layout.from_lengths(2, 4), torch.randn(6, 16), torch.randn(2, 3)
    out = core(x, layout, condition=condition)
    alone = [
        core(part, Layout.from_lengths(len(part)), condition=condition[i : i + 1])
        for i, part in enumerate(x.split([2, 4]))
    ]
    torch.testing.assert_close(out, torch.cat(alone), rtol=1e-5, atol=1e-6)
    other = core(x, layout, condition=condition.flip(0))
    assert not torch.allclose(out, other, atol=1e-3)


def test_memory_reaches_only_the_sample_it_belongs_to():
    core, layout = build(block=CrossBlock), Layout.from_lengths(2, 3)
    x, tokens = torch.randn(5, 16), torch.randn(6, 16)
    memory = Layout.from_lengths(4, 2)
    changed = tokens.clone()
    changed[4:] = torch.nan
    before = core(x, layout, memory=Memory(x=tokens, layout=memory))
    after = core(x, layout, memory=Memory(x=changed, layout=memory))
    assert torch.equal(before[:2], after[:2])
    assert after[2:].isnan().all()


def test_gated_cross_attention_at_zero_is_the_language_model_bit_for_bit():
    alone = build()
    flamingo = Transformer(
        **SIZES, block=partial(GatedCrossBlock, cross=partial(CrossAttention, d_memory=5), every=2)
    ).eval()
    missing, unexpected = flamingo.load_state_dict(alone.state_dict(), strict=False)
    assert not unexpected
    assert all("blocks.0.cross" in name for name in missing)
    layout, x = Layout.from_lengths(4, 2), torch.randn(6, 16)
    memory = Memory(x=torch.randn(3, 5), layout=Layout.from_lengths(3, 0))
    assert torch.equal(flamingo(x, layout, Causal(), memory=memory), alone(x, layout, Causal()))
    with torch.no_grad():
        flamingo.blocks[0].cross.gate.fill_(0.5)
    opened = flamingo(x, layout, Causal(), memory=memory)
    assert not torch.allclose(opened[:4], alone(x, layout, Causal())[:4], atol=1e-4)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"n_heads": 5}, "n_heads=5 does not divide d_model=16"),
        ({"n_kv_heads": 3}, "n_kv_heads=3 does not divide n_heads=4"),
        ({"n_kv_heads": 0}, "n_kv_heads=0 must be at least 1"),
        ({"n_layers": 0}, "n_layers=0"),
        ({"rotary": partial(Rotary, n_axes=3)}, r"rotated=4 features of head_dim=4 .* n_axes=3"),
    ],
)
def test_impossible_sizes_are_told_at_construction(parts, message):
    with pytest.raises(ValueError, match=message):
        Transformer(**{**SIZES, **parts})


@pytest.mark.parametrize(
    ("x", "layout", "others", "message"),
    [
        (torch.zeros(4, 16), (2, 3), {}, r"x has shape \[4, 16\]; a layout of 5 tokens"),
        (torch.zeros(5, 8), (2, 3), {}, r"x has shape \[5, 8\].*d_model=16"),
        (torch.zeros(5, 16), (2, 3), {"condition": torch.zeros(3, 2)}, "condition has 3 rows for 2 samples"),
    ],
)
def test_inputs_that_do_not_fit_are_told(x, layout, others, message):
    with pytest.raises(ValueError, match=message):
        Transformer(**SIZES)(x, Layout.from_lengths(*layout), **others)


def test_what_is_missing_at_first_use_is_told():
    layout, x = Layout.from_lengths(2), torch.zeros(2, 16)
    with pytest.raises(ValueError, match=r"AdaptiveNorm needs a condition; .* \[samples, 3\]"):
        Transformer(**SIZES, connection=partial(AdaptiveNorm, d_condition=3))(x, layout)
    with pytest.raises(ValueError, match=r"condition has 4 features.*d_condition=3"):
        Transformer(**SIZES, connection=partial(AdaptiveNorm, d_condition=3))(x, layout, condition=torch.zeros(1, 4))
    with pytest.raises(ValueError, match="cross-attention has nothing to read"):
        Transformer(**SIZES, block=CrossBlock)(x, layout)
    with pytest.raises(ValueError, match="memory has 3 rows, its layout has 2 tokens"):
        Memory(x=torch.zeros(3, 16), layout=layout)
    with pytest.raises(ValueError, match=r"tokens have 5 features.*d_memory=16"):
        Transformer(**SIZES, block=CrossBlock)(x, layout, memory=Memory(x=torch.zeros(2, 5), layout=layout))
    memory = Memory(x=torch.zeros(2, 16), layout=Layout.from_lengths(1, 1))
    with pytest.raises(ValueError, match="queries come from 1 samples, keys from 2"):
        Transformer(**SIZES, block=CrossBlock)(x, layout, memory=memory)


def test_rotary_core_of_several_modalities_reads_text_alike_with_one_axis_or_two():
    core = build(rotary=partial(Rotary, n_axes=2))
    x, line = torch.randn(5, 16), torch.arange(5.0)[:, None]
    one = Layout(lengths=torch.tensor([5]), positions=line)
    two = Layout(lengths=torch.tensor([5]), positions=torch.cat([line, torch.zeros(5, 1)], dim=1))
    assert torch.equal(core(x, one, Causal()), core(x, two, Causal()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes_come_out_as_they_went_in(dtype):
    core = build(**KINDS["llama"])
    layout, x = Layout.from_lengths(3, 4), torch.randn(7, 16)
    expected = core(x, layout, Causal())
    out = core.to(dtype)(x.to(dtype), layout, Causal())
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), expected, rtol=0.1, atol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "parallel", "alibi", "shared bias"])
def test_the_core_compiles_as_one_graph(kind):
    core, layout, x = build(**KINDS[kind]), Layout.from_lengths(4, 4), torch.randn(8, 16)
    plan = lower(Causal(), layout)
    torch._dynamo.reset()
    compiled = torch.compile(core, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x, layout, plan=plan), core(x, layout, plan=plan))


def test_a_plan_for_another_layout_is_refused_even_where_it_has_as_many_tokens():
    core, x = build(), torch.randn(6, 16)
    plan = lower(Full(), Layout.from_lengths(6))
    with pytest.raises(ValueError, match=r"lowered for the queries of a layout of 1 samples with lengths \[6\]"):
        core(x, Layout.from_lengths(3, 3), plan=plan)
    with pytest.raises(ValueError, match="very layout object"):
        core(x, Layout.from_lengths(6), plan=plan)


def test_the_kernel_asked_for_runs_in_cross_attention_too(monkeypatch):
    from omniformer.core.attention.reference import Reference

    calls, run = [], Reference.attend
    monkeypatch.setattr(Reference, "attend", lambda self, *a, **o: calls.append(self) or run(self, *a, **o))
    core = build(block=CrossBlock, kernel="reference")
    memory = Memory(x=torch.randn(4, 16), layout=Layout.from_lengths(4))
    core(torch.randn(3, 16), Layout.from_lengths(3), memory=memory)
    assert len(calls) == 4  # self- and cross-attention of two layers
    with pytest.raises(ValueError, match="kernel 'banded' needs a rule that reaches a bounded distance"):
        build(block=CrossBlock, kernel="banded")(
            torch.randn(3, 16), Layout.from_lengths(3), Window(left=1, right=1), memory=memory
        )


@pytest.mark.parametrize("head_dim", [None, 6, 10])
@pytest.mark.parametrize("attention", [SelfAttention, ReformerAttention, LinearAttention])
def test_rotary_positions_turn_all_features_of_a_head_as_the_attention_says(attention, head_dim):
    core = Transformer(**SIZES, rotary=Rotary, attention=partial(attention, head_dim=head_dim))
    assert core.rotary(Layout.from_lengths(3)).cos.shape[-1] == (4 if head_dim is None else head_dim)


class Still(SelfAttention):
    rotated_width = None


def test_rotary_positions_that_no_attention_would_turn_are_refused():
    with pytest.raises(ValueError, match="the attention of this core turns no heads"):
        Transformer(**SIZES, rotary=Rotary, attention=Still)
