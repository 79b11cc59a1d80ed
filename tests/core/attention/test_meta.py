import torch

from omniformer.core.attention.meta import listener
from omniformer.core.attention.plan import lower
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full

LAYOUT, KEYS = Layout.from_lengths(3, 0, 4).to("meta"), Layout.from_lengths(2, 5, 1).to("meta")


def test_a_layout_on_the_meta_device_gets_a_kernel_that_computes_nothing():
    assert lower(Causal(), LAYOUT).explain() == "kernel 'meta' for Causal(): nothing is computed on the meta device"
    assert lower(Causal(), LAYOUT, kernel="reference").kernel.name == "meta"
    assert lower(Causal(), Layout.from_lengths(3)).kernel.name != "meta"


def test_shapes_and_gradients_are_those_of_attention():
    q, k, v = (torch.empty(n, heads, 5, device="meta", requires_grad=True) for n, heads in ((7, 4), (8, 2), (8, 2)))
    out = lower(Full(), LAYOUT, KEYS).attend(q, k, v)
    assert out.shape == q.shape
    out.sum().backward()
    assert [x.grad.shape for x in (q, k, v)] == [x.shape for x in (q, k, v)]


def test_a_listener_hears_of_every_use():
    heard = []
    token = listener.set(heard.append)
    x = torch.empty(7, 4, 5, device="meta", dtype=torch.bfloat16)
    plan = lower(Causal(), LAYOUT)
    plan.attend(x, x, x)
    listener.reset(token)
    plan.attend(x, x, x)
    (call,) = heard
    assert (call.rule, call.layout, call.key_layout) == (Causal(), LAYOUT, LAYOUT)
    assert (call.n_heads, call.head_dim, call.value_dim, call.itemsize) == (4, 5, 5, 2)
