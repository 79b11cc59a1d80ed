import pytest
import torch

from omniformer.core.attention.reference import Reference
from omniformer.core.attention.varlen import Varlen, window_of
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Self, Sinks, Window, longformer


def fused_mask(window, layout, key_layout):
    """What the fused kernel computes, in its own words: the last query of a sample stands at its last key."""
    mask = torch.zeros(layout.n_tokens, key_layout.n_tokens, dtype=torch.bool)
    left, right = window
    for sample in range(layout.n_samples):
        queries, keys = int(layout.lengths[sample]), int(key_layout.lengths[sample])
        for i in range(queries):
            for j in range(keys):
                distance = j - (i + keys - queries)
                inside = (left < 0 or distance >= -left) and (right < 0 or distance <= right)
                mask[int(layout.offsets[sample]) + i, int(key_layout.offsets[sample]) + j] = inside
    return mask


@pytest.mark.parametrize(
    "rule",
    [Full(), Causal(), Self(), Window(3, 2), Window(left=1), Window(right=2), Causal() & Window(left=4)],
    ids=str,
)
@pytest.mark.parametrize(
    ("layout", "keys"),
    [
        (Layout.from_lengths(4, 0, 7), Layout.from_lengths(4, 0, 7)),
        (Layout(lengths=torch.tensor([1, 3]), start=torch.tensor([6, 2])), Layout.from_lengths(7, 5)),
    ],
    ids=["self", "cached"],
)
def test_the_window_given_to_the_fused_kernel_is_the_rule(rule, layout, keys):
    window = window_of(rule, layout, keys)
    assert window is not None
    assert torch.equal(fused_mask(window, layout, keys), rule.mask(layout, keys))


@pytest.mark.parametrize("rule", [Causal() | Self(), Causal() & Sinks(2), ~Self(), longformer(window=4)], ids=str)
def test_rules_that_are_no_window_are_left_to_others(rule):
    layout = Layout.from_lengths(4, 7)
    assert window_of(rule, layout, layout) is None


def test_tokens_that_do_not_lie_as_the_kernel_supposes_are_left_to_others():
    layout = Layout.from_lengths(4, 7)
    assert window_of(Causal(), layout, Layout.from_lengths(5, 7)) is None
    assert window_of(Full(), layout, Layout.from_lengths(5, 7)) == (-1, -1)
    assert window_of(Full(), layout, Layout.from_lengths(0, 7)) is None
    assert window_of(Full(), layout, Layout(lengths=torch.tensor([4, 7]), places=torch.arange(11))) is None


def test_a_cpu_is_refused():
    layout = Layout.from_lengths(2)
    with pytest.raises(ValueError, match="runs on CUDA only; the layout lies on 'cpu'"):
        Varlen(Full(), layout, layout)


@pytest.mark.gpu
@pytest.mark.parametrize("rule", [Full(), Causal(), Window(30, 2)], ids=str)
def test_on_cuda_outputs_and_gradients_equal_the_reference(rule):
    layout = Layout.from_lengths(40, 0, 170, 1, device="cuda")
    q, k, v = (torch.randn(211, n, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True) for n in (4, 2, 2))
    grad = torch.randn(211, 4, 64, device="cuda", dtype=torch.bfloat16)
    outs = [kernel(rule, layout, layout)(q, k, v, scale=0.1) for kernel in (Varlen, Reference)]
    for ours, theirs in zip(*([out, *torch.autograd.grad(out, (q, k, v), grad)] for out in outs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=2e-2)
