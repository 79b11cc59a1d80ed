import pytest
import torch

from omniformer.core.attention.plan import KERNELS, lower
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Neighbours, Self, Window


@pytest.mark.parametrize("kernel", ["reference", "dense", "banded"])
def test_a_kernel_asked_for_by_name_runs_and_says_so(kernel):
    layout = Layout.from_lengths(4, 90)
    plan = lower(Window(2, 2), layout, kernel=kernel)
    q = torch.randn(94, 2, 4)
    assert plan.kernel.name == kernel and plan.explain().endswith("asked for by name")
    torch.testing.assert_close(plan.attend(q, q, q), lower(Window(2, 2), layout, kernel="reference").attend(q, q, q))


def test_the_scale_is_one_over_the_root_of_the_head_width_unless_given():
    layout, q = Layout.from_lengths(5), torch.randn(5, 2, 16)
    plan = lower(Causal(), layout)
    torch.testing.assert_close(plan.attend(q, q, q), plan.attend(q, q, q, scale=0.25))


def test_weights_are_those_that_attend_used():
    layout = Layout.from_lengths(3, 6)
    plan = lower(Causal(), layout)
    q, k, v = torch.randn(9, 4, 8), torch.randn(9, 2, 8), torch.randn(9, 2, 8)
    weights = plan.weights(q, k)
    outs = [
        torch.einsum("hqk,khd->qhd", weight, part.repeat_interleave(2, 1))
        for weight, part in zip(weights, v.split([3, 6]), strict=True)
    ]
    torch.testing.assert_close(plan.attend(q, k, v), torch.cat(outs))


def test_keys_may_come_as_rows_of_a_cache_whatever_the_kernel():
    layout = Layout.from_lengths(6, 6)
    q = torch.randn(12, 2, 4)
    for kernel in ("reference", "dense", "banded"):
        plan = lower(Window(2, 2), layout, kernel=kernel)
        torch.testing.assert_close(plan.attend(q, q.view(2, 6, 2, 4), q.view(2, 6, 2, 4)), plan.attend(q, q, q))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: lower(Full(), Layout.from_lengths(2), kernel="fast"),
            "kernel='fast' is unknown; choose one of 'auto', 'reference'",
        ),
        (lambda: lower(Full(), Layout.from_lengths(2), Layout.from_lengths(2, 2)), "from 1 samples, keys from 2"),
        (lambda: lower(Full(), Layout.from_lengths(2), kernel="banded"), "bounded distance"),
        (lambda: lower(Neighbours(), Layout.from_lengths(2)), "needs edges"),
    ],
)
def test_plans_that_cannot_be_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("q", "k", "v", "message"),
    [
        ((3, 2, 4), (2, 2, 4), (2, 2, 4), "a plan for 2 queries and 2 keys"),
        ((2, 2, 4), (3, 2, 4), (3, 2, 4), "a plan for 2 queries and 2 keys"),
        ((2, 2, 4), (2, 2, 4), (2, 1, 4), "do not fit"),
        ((2, 3, 4), (2, 2, 4), (2, 2, 4), "n_kv_heads=2 does not divide n_heads=3"),
    ],
)
def test_tensors_that_do_not_fit_the_plan_are_refused_with_both_numbers(q, k, v, message):
    plan = lower(Full(), Layout.from_lengths(2))
    with pytest.raises(ValueError, match=message):
        plan.attend(torch.zeros(q), torch.zeros(k), torch.zeros(v))


def test_every_kernel_is_known_by_its_own_name():
    assert all(name == kernel.name for name, kernel in KERNELS.items())
    assert {"reference", "dense", "edges", "banded", "varlen", "flex"} <= set(KERNELS)


def test_a_plan_says_what_it_chose_and_why():
    layout = Layout(lengths=torch.tensor([1000]), edges=torch.tensor([[0, 1], [1, 2]]))
    assert lower(Neighbours() | Self(), layout).explain() == (
        "kernel 'edges' for (Neighbours(hops=1) | Self()): 1002 pairs of a possible 1000000"
    )


@pytest.mark.parametrize("score", [None, torch.tanh], ids=["no score", "score"])
@pytest.mark.parametrize("kernel", ["reference", "dense", "banded", "edges", "meta"])
def test_values_may_have_another_width_than_keys(kernel, score):
    layout = Layout(lengths=torch.tensor([5, 0, 3]), edges=torch.tensor([[0, 1, 6], [1, 2, 5]]))
    rule = Neighbours() | Self() if kernel == "edges" else Window(2, 2)
    q, k, v = torch.randn(8, 4, 6), torch.randn(8, 2, 6), torch.randn(8, 2, 10)
    expected = lower(rule, layout, kernel="reference").attend(q, k, v, score=score)
    if kernel == "meta":
        q, k, v = (x.to("meta").requires_grad_() for x in (q, k, v))
        layout = layout.to("meta")
    out = lower(rule, layout, kernel="auto" if kernel == "meta" else kernel).attend(q, k, v, score=score)
    assert out.shape == expected.shape == (8, 4, 10)
    if kernel != "meta":
        torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


def test_a_plan_is_for_the_very_layout_it_was_lowered_for():
    layout, twin = Layout.from_lengths(2, 3), Layout.from_lengths(3, 2)
    plan = lower(Causal(), layout)
    plan.check(layout, layout)
    for given in ((twin, twin), (layout, twin)):
        with pytest.raises(
            ValueError, match=r"lengths \[2, 3\], this call has a layout of 2 samples with lengths \[3, 2\]"
        ):
            plan.check(*given)
