"""Feed-forward layers by their formulas; as convolutions they stand in test_against_torch.py."""

import math

import pytest
import torch

from omniformer.core.feedforward import ACTIVATIONS, FeedForward, GatedFeedForward, squared_relu
from omniformer.core.norm import LayerNorm

FUNCTIONS = {
    "relu": lambda x: max(x, 0.0),
    "relu2": lambda x: max(x, 0.0) ** 2,
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x / (1 + math.exp(-1.702 * x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "tanh": math.tanh,
}


def apply(name, x):
    return torch.tensor([[FUNCTIONS[name](value) for value in row] for row in x.tolist()])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_feedforward_is_down_of_activation_of_up(activation):
    layer, x = FeedForward(4, d_ff=6, activation=activation), torch.randn(3, 4)
    torch.testing.assert_close(layer(x), layer.down(apply(activation, layer.up(x))), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "activation"), [("SwiGLU", "silu"), ("GEGLU", "gelu")])
def test_gated_feedforward_multiplies_up_by_the_activated_gate(name, activation):
    layer, x = GatedFeedForward(4, d_ff=6, activation=activation), torch.randn(3, 4)
    gate, up = x @ layer.gate_up.weight[:6].T, x @ layer.gate_up.weight[6:].T
    torch.testing.assert_close(layer(x), layer.down(apply(activation, gate) * up), rtol=1e-5, atol=1e-6)


def test_a_norm_stands_between_the_gate_and_the_last_map():
    layer, x = GatedFeedForward(4, d_ff=6, norm=LayerNorm), torch.randn(3, 4)
    torch.nn.init.normal_(layer.norm.weight)
    gate, up = layer.gate_up(x).chunk(2, dim=-1)
    gated = apply("silu", gate) * up
    centred = gated - gated.mean(-1, keepdim=True)
    normed = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * layer.norm.weight + layer.norm.bias
    torch.testing.assert_close(layer(x), layer.down(normed), rtol=1e-4, atol=1e-5)


def test_gated_layers_have_about_as_many_weights_as_ungated_ones():
    plain, gated = (
        sum(p.numel() for p in layer(384, bias=False).parameters()) for layer in (FeedForward, GatedFeedForward)
    )
    assert gated == pytest.approx(plain, rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_a_squared_relu_that_learns_is_pytorchs_to_the_last_bit(dtype):
    x, grad = torch.randn(5, 3, 8, dtype=dtype, requires_grad=True), torch.randn(5, 3, 8, dtype=dtype)
    expected, out = torch.relu(x).square(), squared_relu(x)
    assert torch.equal(out, expected) and torch.equal(squared_relu(x.detach()), out)
    found, wanted = (torch.autograd.grad(each, x, grad)[0] for each in (out, expected))
    assert torch.equal(found, wanted) and (found == 0).any() and (found != 0).any()


def test_derivatives_of_a_squared_relu_are_right_to_the_second_order_and_under_transforms():
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(squared_relu, x) and torch.autograd.gradgradcheck(squared_relu, x)
    each = torch.func.vmap(torch.func.grad(lambda row: squared_relu(row).sum()))(x.detach())
    torch.testing.assert_close(each, 2 * x.detach().clamp(min=0))


def test_a_squared_relu_and_its_slope_learn_together():
    x = torch.tensor([3.0, -1.0], requires_grad=True)
    out = squared_relu(x)
    (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    assert torch.autograd.grad((out + slope).sum(), x)[0].tolist() == [2 * 3.0 + 2, 0.0]


@pytest.mark.parametrize("layer", [FeedForward, GatedFeedForward])
def test_tokens_do_not_see_each_other(layer):
    layer, x = layer(4), torch.randn(3, 4)
    changed = x.clone()
    changed[1] = torch.nan
    assert torch.equal(layer(x)[[0, 2]], layer(changed)[[0, 2]])
