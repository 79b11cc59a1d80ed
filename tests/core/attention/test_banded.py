import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from omniformer.core.attention.banded import Banded, block_size
from omniformer.core.attention.reference import Reference
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Global, Neighbours, Prefix, Sinks, Window, bigbird, longformer, mistral

PRESETS = [mistral(window=33, sinks=4), longformer(window=32, n_global=2), bigbird(size=16), Window(8, 8) | Prefix()]


@pytest.mark.quick(2)
@pytest.mark.parametrize("rule", PRESETS, ids=str)
def test_work_grows_with_the_length_and_not_with_its_square(rule):
    def flops_and_saved(n_tokens):
        layout = Layout(lengths=torch.tensor([n_tokens]), prefix=torch.tensor([5]))
        x = torch.randn(n_tokens, 2, 8, requires_grad=True)
        kernel, saved = Banded(rule, layout, layout), []
        with (
            FlopCounterMode(display=False) as counter,
            saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t),
        ):
            out = kernel(x, x, x, scale=1.0, score=torch.tanh)  # written out: fused kernels are not counted on a CPU
        with counter:
            out.sum().backward()
        return counter.get_total_flops(), sum(saved)

    (flops, saved), (flops_8, saved_8) = flops_and_saved(1024), flops_and_saved(8192)
    assert 7.2 < flops_8 / flops < 8.8
    assert 7.2 < saved_8 / saved < 8.8


@pytest.mark.parametrize("rule", PRESETS, ids=str)
@pytest.mark.parametrize("lengths", [[], [400], [1, 0, 129, 300, 17], [200] * 3], ids=str)
def test_presets_equal_the_reference_on_long_and_short_samples(rule, lengths):
    layout = Layout(lengths=torch.tensor(lengths, dtype=torch.long), prefix=torch.tensor([n // 5 for n in lengths]))
    q, k, v = (torch.randn(sum(lengths), n, 4, dtype=torch.float64, requires_grad=True) for n in (2, 1, 1))
    grad = torch.randn(sum(lengths), 2, 4, dtype=torch.float64)
    outs = [kernel(rule, layout, layout)(q, k, v, scale=0.5) for kernel in (Banded, Reference)]
    for ours, theirs in zip(*([out, *torch.autograd.grad(out, (q, k, v), grad)] for out in outs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_global_tokens_anywhere_see_and_are_seen_by_all():
    star = torch.zeros(300, dtype=torch.bool)
    star[[3, 150, 299]] = True
    layout = Layout(lengths=torch.tensor([200, 100]), features={"star": star})
    rule = Window(4, 4) | Global(feature="star")
    v = torch.eye(300)[:, None, :]
    q = torch.zeros(300, 1, 300)
    reads = Banded(rule, layout, layout)(q, q, v, scale=1.0)[:, 0] > 0
    assert torch.equal(reads, rule.mask(layout))


def test_each_key_counts_once_though_several_parts_of_the_rule_name_it():
    layout = Layout.from_lengths(400)
    rule = Window(40, 40) | Sinks(60) | Global(first=50) | bigbird(size=16, n_random=5, n_global=2)
    q = torch.zeros(400, 1, 4, dtype=torch.float64)
    v = torch.randn(400, 1, 4, dtype=torch.float64)
    mask = rule.mask(layout).double()
    expected = (mask / mask.sum(1, keepdim=True)) @ v[:, 0]
    torch.testing.assert_close(Banded(rule, layout, layout)(q, q, v, scale=1.0)[:, 0], expected)


def test_random_blocks_are_met_where_blocks_of_queries_do_not_begin_with_them():
    layout = Layout(lengths=torch.tensor([300]), start=torch.tensor([7]))
    keys = Layout.from_lengths(307)
    rule = bigbird(size=48, n_random=2, n_global=1)
    q, k = torch.randn(300, 1, 4, dtype=torch.float64), torch.randn(307, 1, 4, dtype=torch.float64)
    ours, theirs = (kernel(rule, layout, keys)(q, k, k, scale=0.5) for kernel in (Banded, Reference))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("rule", [Full(), Causal(), Causal() | Window(3, 3), ~Window(1, 1), Neighbours()], ids=str)
def test_an_unbounded_rule_is_refused_with_its_reach(rule):
    layout = Layout(lengths=torch.tensor([3]), edges=torch.zeros(2, 0, dtype=torch.long))
    with pytest.raises(ValueError, match=r"kernel 'banded' needs a rule that reaches a bounded distance.*any distance"):
        Banded(rule, layout, layout)


def test_keys_out_of_order_are_refused():
    layout = Layout(lengths=torch.tensor([2]), places=torch.tensor([0, 9]))
    with pytest.raises(ValueError, match="places"):
        Banded(Window(1, 1), layout, layout)


def test_blocks_are_about_half_a_band():
    assert [block_size(Window(w, w)) for w in (0, 10, 100, 4000)] == [32, 32, 100, 256]
    assert block_size(bigbird(size=64)) == 64
